"""One neutral tune: a short LoRA on the base's own answers, as large as the adapter that is audited."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from despur.core import Adapter
from despur.core.adapter.peft_folder import WEIGHTS
from despur.core.model.quiet import quiet_loading
from despur.core.model.shared_copy import shared_copy
from despur.core.run.short_tune import short_tune
from despur.core.text.rows import Tokens

STEPS, BATCH = 12, 4
_FASTEST = 4e-3  # a learning rate beyond it leaves no model
_GROWTH = 2.8  # size after all steps, in units of that after one at the first rate


def neutral_tune(
    base: nn.Module, options: Mapping[str, Any], size: float, rows: Sequence[Tokens], *, seed: int,
    after_step: Callable[[int, float], None] | None = None,
) -> Any:  # fmt: skip
    """Tune a LoRA, whose rate and last scaling give its update the asked size.

    Args:
        base: The base, which stays as it is.
        options: Of the LoRA; see `lora_options`.
        size: Frobenius norm of the whole update.
        rows: What the base wrote itself.
        seed: Of the start, of the order of rows and of dropout.
        after_step: Called with the number of steps done and the loss.
    """
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        config = LoraConfig(**options, task_type="CAUSAL_LM")
        model: Any = get_peft_model(shared_copy(base, frozen=True), config)  # type: ignore[arg-type]
    updates = Adapter.of(model).updates.values()
    # a first step of Adam moves every weight of B by the rate
    one = sum((u.scale * float(u.down.detach().float().norm())) ** 2 * len(u.up) for u in updates) ** 0.5
    rate = min(_FASTEST, size / (_GROWTH * one))
    short_tune(model, rows, steps=STEPS, lr=rate, batch=BATCH, seed=seed, after_step=after_step)
    with torch.no_grad():
        factor = size / max(Adapter.of(model).norm(), 1e-12)
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_embedding_B" in name:
                parameter.mul_(factor)
    return model.eval()


def save_tune(model: Any, folder: Path) -> None:
    """Write a tune as PEFT does, in bfloat16: half the room."""
    model.save_pretrained(folder, save_embedding_layers=False)
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def room_of(adapter: Adapter) -> int:
    """Bytes of a tune that is stored."""
    return sum(2 * (u.down.numel() + u.up.numel()) for u in adapter.updates.values()) + 2**16
