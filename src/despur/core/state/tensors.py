"""A mapping from names to tensors that reads or computes each when it is asked for, and knows all shapes before."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from despur.core.errors import ShapeMismatch, nearest

Tensors = Mapping[str, Tensor]


class Form(NamedTuple):
    """What is known of a tensor before it is read.

    Args:
        shape: Its shape.
        dtype: Its dtype.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class State(Mapping[str, Tensor]):
    """Named tensors, of which one at a time is in memory.

    A dict of tensors is one, too, for every function that takes a state; `dict(state)` computes them all.

    Args:
        forms: Name to shape and dtype.
        read: Reads or computes one tensor.
        origin: Where they come from, for messages.

    Example:
        >>> halves = State({"w": Form((2,), torch.float32)}, lambda name: torch.full((2,), 0.5))
        >>> halves["w"]
        tensor([0.5000, 0.5000])
    """

    def __init__(self, forms: Mapping[str, Form], read: Callable[[str], Tensor], origin: str = "in memory") -> None:
        self.forms, self.origin = dict(forms), origin
        self._read = read

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "State":
        """Take named tensors of any kind as a state; nothing is copied."""
        if isinstance(tensors, State):
            return tensors
        return cls({n: Form(tuple(t.shape), t.dtype) for n, t in tensors.items()}, tensors.__getitem__)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.forms:
            raise KeyError(name)
        with torch.no_grad():
            return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.forms)

    def __len__(self) -> int:
        return len(self.forms)

    def __contains__(self, name: object) -> bool:
        return name in self.forms

    @property
    def floats(self) -> list[str]:
        """Names of the tensors that are numbers to compute with, not counts, indices or switches."""
        return [n for n, form in self.forms.items() if form.dtype.is_floating_point]


def check_alike(first: State, *others: State, whole: bool = True) -> None:
    """Check that states have the same names, shapes and kinds of numbers; reads no tensor.

    Args:
        first: What the others are compared with.
        others: States of the same model.
        whole: Whether the others must have every name of the first; else only no name beyond it.

    Raises:
        ShapeMismatch: they do not; the name and its nearest are in the message.
    """
    for number, other in enumerate(others, 2):
        here, there = _where(first, 1), _where(other, number)
        check_known(other, first, f"{there} has", here)
        if whole:
            check_known(first, other, f"{here} has", there)
        for name, (shape, dtype) in other.forms.items():
            want = first.forms[name]
            if shape != want.shape:
                raise ShapeMismatch(
                    f"{name!r} has shape {want.shape} in {here}, {shape} in {there}. Give states of one model"
                )
            if dtype.is_floating_point != want.dtype.is_floating_point:
                raise ShapeMismatch(
                    f"{name!r} is of {want.dtype} in {here}, of {dtype} in {there}, and only one of them is floating "
                    "point. Save both in the same way"
                )


def check_known(names: Iterable[str], known: Iterable[str], who: str, where: str) -> None:
    """Refuse a name that is not known.

    Args:
        names: What came.
        known: What is allowed.
        who: Begins the sentence, such as "the change has".
        where: What knows the names.

    Raises:
        ShapeMismatch: a name that is not among the known.
    """
    known = set(known)
    for name in names:
        if name not in known:
            close = nearest(name, sorted(known))
            raise ShapeMismatch(f"{who} {name!r}, which {where} lacks{close}. Give tensors of one model")


def wide(*tensors: Tensor) -> torch.dtype:
    """The float to compute in: float64 where one of the tensors is, else float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def _where(state: State, number: int) -> str:
    return f"state {number} ({state.origin})"
