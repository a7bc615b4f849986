"""Base models, tokenizers and data from what the user named, with errors that say what to do."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from despur.core._quiet import quiet_loading
from despur.core.errors import BadInput

_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def load_base(name: str, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer from a folder or a hub id, safetensors only.

    Raises:
        BadInput: no such folder, pickled or damaged weights, NaN or Inf in them, or no tokenizer.
    """
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").exists():
        raise BadInput(f"no config.json in {name!r}. Give the folder that transformers' save_pretrained wrote")
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        pickled = next((p for p in _PICKLED if (folder / p).exists()), None)
        if pickled:
            raise BadInput(
                f"{str(folder / pickled)!r} is pickled, and loading a pickle can run code. Where you trust it, convert: load it "
                "once with transformers and save_pretrained it again"
            )
        raise BadInput(f"no *.safetensors in {name!r}. The folder is not whole: copy or save it again")
    if not folder.exists() and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise BadInput(f"no base model folder {name!r}. Give a folder saved by transformers, or a hub id 'owner/name'")
    try:
        with quiet_loading():
            model = AutoModelForCausalLM.from_pretrained(
                name, use_safetensors=True, trust_remote_code=trust_remote_code, dtype="auto"
            )
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers raises a dozen kinds here, all of them about what was named
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInput(
            f"cannot load base model {name!r}: {first}. Is the folder whole, and of a known architecture?"
        ) from error
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadInput(f"{key!r} of base {name!r} holds NaN or Inf. Copy or save the base again")
    if not torch.cuda.is_available() and next(model.parameters()).dtype != torch.float32:
        model = model.float()  # bf16 matrix products on a CPU are slow and lose the last digits of every figure
    return model.eval(), tokenizer


def context_length(model: Any, asked: int) -> int:
    """The asked length, or what the model can take where that is less."""
    return min(asked, getattr(model.config, "max_position_embeddings", None) or asked)
