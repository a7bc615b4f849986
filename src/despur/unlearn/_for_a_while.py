"""An adapter that is trained for a while, read, and then is what it was."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from despur.core import Adapter, LowRank
from despur.core.adapter.updates import linear_pairs
from despur.core.errors import BadInput
from despur.core.model.states import evaluating, same_flags


@contextlib.contextmanager
def trained_for_a_while(model: Any) -> Iterator[Mapping[str, nn.Parameter]]:
    """The adapter's weights, to be trained for a while; after it they are what they were."""
    with same_flags(model), evaluating(model), torch.enable_grad():
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name and "default" in name.split("."))
        linear_pairs(model, "suv")
        weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        was = {n: p.detach().clone() for n, p in weights.items()}
        try:
            yield weights
        finally:
            with torch.no_grad():
                for n, p in weights.items():
                    p.copy_(was[n])
                    p.grad = None


def copied(adapter: Adapter) -> Adapter:
    """The adapter with tensors of its own, in float32 on the CPU."""
    updates = {n: LowRank(_own(u.down), _own(u.up), u.scale) for n, u in adapter.updates.items()}
    return replace(adapter, updates=updates)


def _own(x: Tensor) -> Tensor:
    return x.detach().float().cpu().clone()


def check_finite(loss: float, weights: Mapping[str, nn.Parameter], step: int) -> None:
    """Refuse a step whose loss or gradient is not finite.

    Raises:
        BadInput: it is not.
    """
    size = sum(float(p.grad.double().square().sum()) for p in weights.values() if p.grad is not None)
    if not (math.isfinite(loss) and math.isfinite(size)):
        raise BadInput(
            f"suv: at step {step} the loss is {loss:g}, its gradient's length {size**0.5:g}. Look for NaN in the model, load it in "
            "float32, or take a lower strength"
        )
