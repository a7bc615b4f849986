"""Adapters of any kind that PEFT can merge: put on their base, and their change computed layer by layer."""

import copy
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.adapter.dense import precision
from despur.core.adapter.expert_lora import expert_lora
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.peft_config import REBASING
from despur.core.model.base_modules import base_modules, map_shape, unwrapped

NAME = "default"
_PREFIX = "base_model.model."
_SIZES = ("r", "init_r", "target_r", "n_frequency", "num_vectors", "vector_length", "block_size", "rank_pattern")
_SHARED = "vblora_vector_bank"  # stored once for all layers and listed again in each


def needs_originals(config: Mapping[str, Any]) -> bool:
    """Whether putting the adapter on moves the base's own weights (PiSSA, OLoRA)."""
    return config.get("peft_type") == "LORA" and config.get("init_lora_weights") in REBASING


@torch.no_grad()
def changed_by(
    model: nn.Module, before: Mapping[str, Tensor], skip: Collection[str]
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
    for lora in expert_lora(model).values():
        updates |= lora.live(name)
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
