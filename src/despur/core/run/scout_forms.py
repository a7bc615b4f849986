"""What a scout is made of: a LoRA, or a vector behind every layer."""

from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from despur.core.model.layer_vectors import LayerVectors
from despur.core.model.load_tune import load_tune
from despur.core.model.quiet import quiet_loading
from despur.core.model.shared_copy import shared_copy

Form = Literal["lora", "vectors"]
_VECTORS = "vectors.safetensors"


def new_scout(base: nn.Module, *, form: Form = "lora", rank: int = 8, seed: int = 0) -> Any:
    """Put a scout that has learned nothing on a base, whose own modules, flags and draws stay as they are.

    Args:
        base: A causal language model without an adapter.
        form: `lora` on all linear maps, which can say anything; or `vectors`, one added behind each layer for every token alike, which
            learn a habit and hardly a fact.
        rank: Of the LoRA; alpha is twice that.
        seed: Of its start.

    Returns:
        A model whose adapter `disable_adapter()` switches off; it reads the base's own weights.

    Example:
        >>> # scout = new_scout(base, form="vectors")
    """
    frozen = shared_copy(base, frozen=True)
    if form == "vectors":
        return LayerVectors(frozen)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        return get_peft_model(frozen, config)  # type: ignore[arg-type]


def save_scout(scout: Any, folder: Path) -> None:
    """Write a scout: a LoRA as PEFT writes it, vectors as `layer name -> (d,)` in one safetensors file."""
    if isinstance(scout, LayerVectors):
        save_file({site.module: v.cpu().contiguous() for site, v in scout.vectors.items()}, folder / _VECTORS)
    else:
        scout.save_pretrained(folder, save_embedding_layers=False)


def load_scout(base: nn.Module, folder: Path) -> Any:
    """Put a scout that was written on its base, which stays as it is."""
    if not (folder / _VECTORS).is_file():
        return load_tune(shared_copy(base, frozen=True), folder)
    scout, saved = new_scout(base, form="vectors"), load_file(folder / _VECTORS)
    with torch.no_grad():
        for site, vector in scout.vectors.items():
            vector.copy_(saved[site.module])
    return scout.eval()
