"""A model for a moment in another state: its base, in evaluation; its own state is always restored."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from despur.core.errors import BadInput, CannotAttach, DespurError


@runtime_checkable
class Switchable(Protocol):
    """A tuned model that can be its base for a while: a PeftModel, or `TwoStates`."""

    def disable_adapter(self) -> AbstractContextManager[Any]:
        """Be the base while the block runs."""
        ...

    def get_base_model(self) -> Any:
        """The base model's own module tree."""
        ...


def bare(model: Any) -> Any:
    """The base model's own module tree, without the adapter's wrapper."""
    return model.get_base_model() if isinstance(model, Switchable) else model


def is_adapted(model: Any) -> bool:
    """Whether PEFT has put an adapter on a model, around it or into it."""
    return getattr(model, "peft_config", None) is not None


def check_switchable(model: Any, who: str, *, error: type[DespurError] = BadInput) -> None:
    """Refuse a model that cannot be its base for a while.

    Raises:
        DespurError: it has no adapter that could be switched off.
    """
    if not isinstance(model, Switchable):
        raise error(
            f"{who} needs a PEFT model with an adapter to switch off, not a {type(model).__name__}. Load one with "
            "PeftModel.from_pretrained, or wrap the base with get_peft_model"
        )


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[Any]:
    """The model in evaluation; each of its modules goes back to the mode that it was in, not only the outermost."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        model.train(modes[0][1])  # modules may do more than set a flag
        for module, was_training in modes:
            module.training = was_training


@contextlib.contextmanager
def as_base(model: Any) -> Iterator[Any]:
    """The model without its adapter; a model without one is taken as the base, before its training."""
    if is_adapted(model) and not isinstance(model, Switchable):
        raise CannotAttach(
            "the adapter was added to the model itself, so it cannot be switched off for a moment. Wrap the base with "
            "get_peft_model instead of add_adapter"
        )
    with same_flags(model), model.disable_adapter() if isinstance(model, Switchable) else contextlib.nullcontext():
        yield model


@contextlib.contextmanager
def same_flags(model: Any) -> Iterator[None]:
    """Leave `requires_grad` as it is: PEFT sets it again on every switch, even for frozen halves of an adapter."""
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])


@contextlib.contextmanager
def base_now(model: nn.Module) -> Iterator[Any]:
    """The base between two steps of training: adapter off, dropout off, no gradients."""
    with as_base(model) as base, evaluating(base), torch.no_grad():
        yield base


def check_base_stays(model: Any, guard: str) -> None:
    """Refuse a full fine-tune, whose base is gone after the first step.

    Raises:
        CannotAttach: the model has no adapter that could be switched off.
    """
    if not isinstance(model, Switchable):
        raise CannotAttach(
            f"{guard} compares with the base in every step and needs a PEFT model, whose adapter can be switched off. Wrap it "
            "with get_peft_model, or take rehearse, which remembers the base"
        )
