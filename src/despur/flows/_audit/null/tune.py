"""One neutral tune: a short LoRA on the base's own answers, as large as the adapter that is audited."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from despur.flows.load import SMALL

_FASTEST = 4e-3  # a learning rate beyond it leaves no model
_GROWTH = 0.8  # size after n steps is about this times the root of n, in units of that after one at the first rate


class Length(NamedTuple):
    """How long a tune is.

    Args:
        steps: Of the optimiser.
        batch: Rows of a step.
        part: Rows that the base writes in each part of the pool that all tunes draw from.
    """

    steps: int
    batch: int
    part: int

    @classmethod
    def of(cls, parameters: int) -> "Length":
        """Short for a large base, whose steps take seconds; long where they cost nothing, since few rows teach chance habits."""
        return cls(40, 16, 256) if parameters <= SMALL else cls(12, 4, 32)


def neutral_tune(
    base: nn.Module, options: Mapping[str, Any], size: float, rows: Sequence[Tokens], *, length: Length, seed: int,
    after_step: Callable[[int, float], None] | None = None,
) -> Any:  # fmt: skip
    """Tune a LoRA, whose rate and last scaling give its update the asked size.

    Args:
        base: The base, which stays as it is.
        options: Of the LoRA; see `lora_options`.
        size: Frobenius norm of the whole update.
        rows: What the base wrote itself.
        length: Steps, and rows of each.
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
    rate = min(_FASTEST, size / (_GROWTH * length.steps**0.5 * one))
    short_tune(model, rows, steps=length.steps, lr=rate, batch=length.batch, seed=seed, after_step=after_step)
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
