"""Adapters of any kind that PEFT can merge: put on their base, and their change computed layer by layer."""

import copy
import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.adapter.dense import precision
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.peft_config import CONFIG, REBASING, reason, short_repr
from despur.core.adapter.peft_folder import WEIGHTS, Opened
from despur.core.errors import BadInput
from despur.core.model.base_modules import base_modules, map_shape, unwrapped

NAME = "default"
_PREFIX = "base_model.model."
_SIZES = ("r", "init_r", "target_r", "n_frequency", "num_vectors", "vector_length", "block_size", "rank_pattern")
_SHARED = "vblora_vector_bank"  # stored once for all layers and listed again in each


def put_on(base: nn.Module, opened: Opened) -> tuple[Any, dict[str, Tensor]]:
    """Put an adapter on its base, every tensor of the file accounted for.

    Returns:
        PeftModel in eval mode, and what the file has for the base's own tensors, by their base-model names: PEFT would
        write these over the base for good, so they are left out here.

    Raises:
        BadInput: PEFT cannot make this adapter on this base, or the two files name different modules.
    """
    from peft import PeftModel
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
    from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict

    where, path = repr(str(opened.folder / CONFIG)), repr(str(opened.folder / WEIGHTS))
    config = _peft_config(opened, where)
    devices = {p.device.index or 0 for p in base.parameters() if p.device.type == "cuda"}
    try:
        with torch.random.fork_rng(sorted(devices)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: Any = PeftModel(base, config, NAME)
            expected = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
            tensors, own = _sorted(opened.tensors, set(expected), model)
            loaded = set_peft_model_state_dict(model, tensors, adapter_name=NAME)
    except KeyError as error:
        raise BadInput(f"{path} lacks {reason(error)}, which {CONFIG} asks for. {_TWO_FILES}") from error
    except Exception as error:  # PEFT raises a dozen kinds, all of them about these two files and this base
        raise BadInput(
            f"PEFT cannot put {str(opened.folder)!r} on this base: {reason(error)}. Check the folder and the base"
        ) from error
    if loaded.unexpected_keys:
        raise BadInput(
            f"{path} contains {loaded.unexpected_keys[0]!r}, which {CONFIG} does not name on this base: PEFT would "
            f"leave it out. {_TWO_FILES}"
        )
    stems = (PEFT_TYPE_TO_PREFIX_MAPPING.get(config.peft_type) or NAME, "modules_to_save", "trainable_tokens")
    missing = [
        k for k in loaded.missing_keys if NAME in k.split(".") and any(s in k for s in stems) and _SHARED not in k
    ]
    if missing:
        raise BadInput(
            f"{path} lacks {missing[0].replace(f'.{NAME}', '')!r}, which {CONFIG} asks for on this base. {_TWO_FILES}"
        )
    return model.eval(), own


_TWO_FILES = (
    "The two files are of two adapters, or the base is another: copy or save the adapter again, give its own base"
)


def needs_originals(config: Mapping[str, Any]) -> bool:
    """Whether putting the adapter on moves the base's own weights (PiSSA, OLoRA)."""
    return config.get("peft_type") == "LORA" and config.get("init_lora_weights") in REBASING


@torch.no_grad()
def changed_by(
    model: nn.Module, before: Mapping[str, Tensor], skip: Mapping[str, LowRank]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each base tensor that an adapter changes: name, value before, value after.

    One layer at a time is copied, merged by PEFT in float64 and dropped again; the model itself is not touched.

    Args:
        model: PEFT model.
        before: The base's tensors by name, under all of their names.
        skip: Modules whose change is known already.
    """
    from peft.utils.other import ModulesToSaveWrapper

    done = ""
    for name, module in base_modules(model).items():
        inner = unwrapped(module)
        if inner is module or (done and f"{name}.".startswith(done)) or name in skip:
            continue
        done = f"{name}."
        if isinstance(module, ModulesToSaveWrapper):
            after: Any = module.modules_to_save[NAME]
        else:
            after = _merged(module, precision(max(inner.parameters(), key=torch.numel, default=torch.empty(0))))
        for leaf, value in after.named_parameters(remove_duplicate=False):
            old = before.get(f"{name}.{leaf}")
            yield f"{name}.{leaf}", torch.zeros_like(value) if old is None else old, value


def lora_factors(model: nn.Module, name: str = NAME) -> tuple[dict[str, LowRank], dict[str, float]]:
    """The layers of a live model that are plain LoRA, taken exactly.

    Returns:
        Base-model module name to its update (the tensors are shared, not copied), and bias name to the change of a
        bias that LoRA trains, as `Changes.others` has it.
    """
    from peft.tuners.lora import LoraLayer

    updates: dict[str, LowRank] = {}
    biases: dict[str, float] = {}
    for path, module in base_modules(model).items():
        layer: Any = module
        if not isinstance(module, LoraLayer) or name not in layer.scaling or name in layer.lora_variant:
            continue
        if map_shape(module) is None:
            continue
        scale = float(layer.scaling[name])
        if name not in layer.lora_A:
            updates[path] = LowRank(layer.lora_embedding_A[name].detach(), layer.lora_embedding_B[name].detach(), scale)
            continue
        up = layer.lora_B[name]
        updates[path] = LowRank(layer.lora_A[name].weight.detach(), up.weight.detach(), scale)
        if up.bias is not None:
            delta = scale * up.bias.detach().double()
            old = getattr(unwrapped(module), "bias", None)
            old = torch.zeros_like(delta) if old is None else old.detach().double()
            size = max(float(old.norm()), float((old + delta).norm()))
            biases[f"{path}.bias"] = float(delta.norm()) / size if size else 0.0
    return updates, {n: change for n, change in biases.items() if change > 0}


def _merged(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    clone: Any = copy.deepcopy(module).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if callable(getattr(clone, "unload_and_optionally_merge_module", None)):
            return clone.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
        clone.merge()
    return clone.get_base_layer()


def _peft_config(opened: Opened, where: str) -> Any:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from peft.utils.peft_types import PeftType

    kind = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(opened.config["peft_type"])]
    fields = {f.name for f in dataclasses.fields(kind)} - {"runtime_config"}
    numbers = sum(t.numel() for t in opened.tensors.values())
    for key, value in opened.config.items():
        if key not in fields and value:
            raise BadInput(
                f"{where} has {key}={short_repr(value)}, which this version of PEFT does not know: its change would be "
                "missed. Install the version that saved it"
            )
        values = value.values() if isinstance(value, dict) else (value,)
        if key in _SIZES and any(isinstance(v, int) and v > numbers for v in values):
            raise BadInput(
                f"{where} has {key}={short_repr(value)}, more than the file has numbers. Save the adapter again"
            )
    options: dict[str, Any] = {key: value for key, value in opened.config.items() if key in fields}
    options |= {"inference_mode": True, "task_type": None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(**options)
    except Exception as error:
        raise BadInput(f"{where} is refused by PEFT: {reason(error)}. Save the adapter again") from error


def _sorted(
    tensors: Mapping[str, Tensor], expected: set[str], model: nn.Module
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The adapter's tensors, and those that PEFT would write over the base's own."""
    inside = {key.removeprefix(_PREFIX) for key in model.state_dict()}
    modules = base_modules(model)
    theirs: dict[str, Tensor] = {}
    own: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(_PREFIX).replace(".base_layer.", ".")
        owner, _, leaf = name.rpartition(".")
        base_tensor = owner in modules and leaf in dict(unwrapped(modules[owner]).named_parameters(recurse=False))
        if base_tensor and (key not in expected or key.removeprefix(_PREFIX) in inside):
            own[name] = tensor
        else:
            theirs[key] = tensor
    return theirs, own
