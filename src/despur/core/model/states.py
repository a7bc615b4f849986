"""A model for a moment in another state: its base, in evaluation; what it was comes back whatever happens."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from despur.core.errors import CannotAttach


@contextlib.contextmanager
def as_base(model: Any) -> Iterator[Any]:
    """The model without its adapter; a model without one is taken as the base, before its training."""
    if hasattr(model, "peft_config") and not hasattr(model, "disable_adapter"):
        raise CannotAttach(
            "the adapter was added to the model itself, so it cannot be switched off for a moment. Wrap the base with "
            "get_peft_model instead of add_adapter"
        )
    with same_flags(model), model.disable_adapter() if hasattr(model, "disable_adapter") else contextlib.nullcontext():
        yield model


@contextlib.contextmanager
def same_flags(model: nn.Module) -> Iterator[None]:
    """Leave `requires_grad` as it is: PEFT sets it anew on every switch, frozen halves of an adapter too."""
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])


@contextlib.contextmanager
def base_now(model: nn.Module) -> Iterator[Any]:
    """The base between two steps of training: adapter off, dropout off, no gradients."""
    was_training = model.training
    with as_base(model) as base, torch.no_grad():
        base.eval()
        try:
            yield base
        finally:
            base.train(was_training)


def check_base_stays(model: Any, guard: str) -> None:
    """Refuse a full fine-tune, whose base is gone after the first step.

    Raises:
        CannotAttach: the model has no adapter that could be switched off.
    """
    if not hasattr(model, "disable_adapter"):
        raise CannotAttach(
            f"{guard} compares with the base in every step and needs a PEFT model, whose adapter can be switched off. Wrap it "
            "with get_peft_model, or take rehearse, which remembers the base"
        )
