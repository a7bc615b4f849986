"""Base models and tokenizers from wherever a user has them, with errors that name the next step."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from despur.core import Anatomy
from despur.core.adapter.peft_config import CONFIG, read_config, reason
from despur.core.errors import BadInput, MissingExtra, nearest
from despur.core.model.named_bases import BASES
from despur.core.model.quiet import quiet_loading
from despur.flows.base_place import base_place
from despur.flows.base_sizes import check_sizes
from despur.flows.gguf_base import load_gguf
from despur.flows.in_memory import loaded_base
from despur.flows.placement import Placement
from despur.flows.stand_in import StandIn

SMALL = 20_000_000  # parameters
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
# what transformers needs for each kind of quantised weights: the module, and what pip calls it
_LIBRARIES = {
    "aqlm": ("aqlm", "aqlm"),
    "auto-round": ("auto_round", "auto-round"),
    "awq": ("gptqmodel", "gptqmodel"),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "compressed-tensors": ("compressed_tensors", "compressed-tensors"),
    "eetq": ("eetq", "eetq"),
    "fbgemm_fp8": ("fbgemm_gpu", "fbgemm-gpu"),
    "gptq": ("gptqmodel", "gptqmodel"),
    "hqq": ("hqq", "hqq"),
    "quanto": ("optimum.quanto", "optimum-quanto"),
    "quark": ("quark", "amd-quark"),
    "spqr": ("spqr_quant", "spqr_quant"),
    "torchao": ("torchao", "torchao"),
    "vptq": ("vptq", "vptq"),
}


def load_base(name: str, placement: Placement | None = None, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer, from safetensors or a GGUF file alone.

    A base that its configuration calls quantised (4 or 8 bits) is loaded as it is, a GGUF file dequantised.

    Args:
        name: Folder, GGUF file, hub id (`owner/name@revision` for one of its revisions), a name that `despur fetch` lists, or
            what stands for a model in memory.
        placement: Device and precision; by default float32 on a CPU, and on a machine with a CUDA device as it was saved.
        trust_remote_code: Run code that the folder brings along.

    Raises:
        BadInput: no such base, pickled or damaged weights, weights that are missing, NaN or Inf in them, an adapter in
            the same folder, no tokenizer, weights quantised in an unknown way, or a device that is not here.
        MissingExtra: the library that its weights need is not installed.
    """
    if isinstance(name, StandIn) and name.model is not None:
        return loaded_base(name, placement), name.tokenizer
    placement = placement or Placement()
    target = placement.target()
    place = base_place(name)
    if place is not None and place.is_file():
        model, tokenizer, found = load_gguf(place, placement.options)
    else:
        model, tokenizer, found = _load_folder(name, place, placement.options, trust_remote_code)
    if found["missing_keys"]:  # transformers draws them at random
        raise BadInput(
            f"base {name!r} lacks the tensor {min(found['missing_keys'])!r} (in all {len(found['missing_keys'])} are "
            "missing). Copy or save the base again"
        )
    quantised = getattr(model, "hf_quantizer", None) is not None
    for key, tensor in model.state_dict().items():
        if tensor.is_meta:
            raise BadInput(
                f"base {name!r} does not fit into the devices' memory: {key!r} would stay outside. Take --dtype bfloat16, more "
                "devices, or --device cpu"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadInput(f"{key!r} of base {name!r} contains NaN or Inf. Copy or save the base again")
    if not quantised and placement.whole:
        model = model.float()
    if target is not None and not quantised:
        model = model.to(target)
    if "OMP_NUM_THREADS" not in os.environ and sum(p.numel() for p in model.parameters()) < SMALL:
        torch.set_num_threads(
            1
        )  # on a model this small threads wait for each other: next to other work, 6 times slower
    return model.eval(), tokenizer


def _load_folder(
    name: str, folder: Path | None, options: Mapping[str, Any], trust_remote_code: bool
) -> tuple[Any, Any, Mapping[str, Any]]:
    """Load what transformers saved, or a hub id where there is no folder; also gives which tensors were missed."""
    if folder is None:
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise BadInput(
                f"no base model folder {name!r}{nearest(name, BASES)}. Give a folder saved by transformers, a GGUF file, a name "
                f"that `despur fetch` lists ({', '.join(BASES)}), or a hub id 'owner/name'"
            )
    else:
        _check_folder(name, folder)
    try:
        with quiet_loading():
            where, _, revision = (name if folder is None else str(folder)).partition("@" if folder is None else "\0")
            more: dict[str, Any] = {
                "trust_remote_code": trust_remote_code,
                **({"revision": revision} if revision else {}),
            }
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                where, use_safetensors=True, output_loading_info=True, **more, **options
            )
            tokenizer = AutoTokenizer.from_pretrained(where, **more)
    except ImportError as error:
        raise MissingExtra(
            f"base {name!r} needs a library that is not installed: {reason(error)}. Install what it names"
        ) from error
    except Exception as error:  # transformers raises a dozen kinds here, all of them about what was named
        raise BadInput(
            f"cannot load base model {name!r}: {reason(error)}. Is the folder complete, and its architecture known?"
        ) from error
    model, found = loaded
    return model, tokenizer, found


def _check_folder(name: str, folder: Path) -> None:
    if (folder / CONFIG).exists():  # transformers would put it on, and fetch the base that it names
        raise BadInput(
            f"base {name!r} contains {CONFIG}: it is an adapter, or has one. Give the plain base that it was trained on"
        )
    if not (folder / "config.json").exists():
        raise BadInput(f"no config.json in {name!r}. Give the folder that transformers' save_pretrained wrote")
    if not list(folder.glob("*.safetensors")):
        pickled = next((p for p in _PICKLED if (folder / p).exists()), None)
        if pickled:
            raise BadInput(
                f"{str(folder / pickled)!r} is pickled, and loading a pickle can run code. Where you trust it, convert: load it "
                "once with transformers and save_pretrained it again"
            )
        raise BadInput(f"no *.safetensors in {name!r}. The folder is incomplete: copy or save it again")
    config = read_config(folder / "config.json")
    check_sizes(str(folder), config)
    _check_library(name, config)


def _check_library(name: str, config: Mapping[str, Any]) -> None:
    quantization = config.get("quantization_config")
    if not quantization:
        return
    quantization = quantization if isinstance(quantization, dict) else {}
    method = quantization.get("quant_method") or (
        "bitsandbytes" if quantization.get("load_in_4bit") or quantization.get("load_in_8bit") else None
    )
    module, package = _LIBRARIES.get(str(method), (None, None))
    if module is not None and importlib.util.find_spec(module.partition(".")[0]) is None:
        raise MissingExtra(
            f"base {name!r} is quantised with {method!r}, and {package} is not installed. Install: pip install {package}, "
            "or give the base in bfloat16"
        )
    if module is None and str(method) not in AUTO_QUANTIZATION_CONFIG_MAPPING:  # would be left out with a warning
        raise BadInput(
            f"base {name!r} is quantised with {method!r}, which transformers does not know. Give the base in bfloat16"
        )


def context_length(model: Any, asked: int) -> int:
    """The asked length, or what the model can take where that is less."""
    return min(asked, Anatomy.of(model).context or asked)
