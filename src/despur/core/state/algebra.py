"""Algebra of named tensors: difference, sum, scale, permutation, projection; lazy, so one tensor at a time is in memory.

All of it is computed in float32, or float64 where an operand is, and given in the first operand's dtype; a difference stays
in the wide one. Tensors that are no floats (counts, indices) are not computed with: they stay the first state's.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.state.tensors import Form, State, Tensors, check_alike, check_known, wide

Number = int | float | Mapping[str, float]  # for all tensors alike, or one a tensor
_PART = 2**22  # numbers that are in float64 at once


def difference(after: Tensors, before: Tensors) -> State:
    """What changed, `after - before`, of every tensor of floats.

    Raises:
        ShapeMismatch: the two are not of one model.

    Example:
        >>> difference({"w": torch.ones(2)}, {"w": torch.zeros(2)})["w"]
        tensor([1., 1.])
    """
    new, old = State.of(after), State.of(before)
    check_alike(new, old)
    forms = {n: Form(new.forms[n].shape, _widest(new.forms[n], old.forms[n])) for n in new.floats}
    return State(forms, lambda n: new[n].to(forms[n].dtype) - old[n].to(new[n].device, forms[n].dtype), "a difference")


def add(state: Tensors, change: Tensors, weight: Number = 1.0) -> State:
    """`state + weight * change`, the weight a number or one a tensor; what the change does not name stays as it is.

    Raises:
        ShapeMismatch: the change names a tensor that the state lacks or has in another shape, or that has no weight.
    """
    old, moved = State.of(state), State.of(change)
    check_alike(old, moved, whole=False)
    by = _numbers(weight, moved.floats)

    def read(name: str) -> Tensor:
        x = old[name]
        if name not in by:
            return x
        d = moved[name].to(x.device)
        return (x.to(wide(x, d)) + by[name] * d.to(wide(x, d))).to(x.dtype)

    return State(old.forms, read, old.origin)


def scale(state: Tensors, by: Number) -> State:
    """Every tensor of floats times a number, or each times its own.

    Raises:
        ShapeMismatch: a tensor that has no number.
    """
    numbers = _numbers(by, State.of(state).floats)
    return _map(state, lambda name, x: (numbers[name] * x.to(wide(x))).to(x.dtype))


def permute(state: Tensors, axes: Mapping[str, Sequence[str | None]], order: Mapping[str, Tensor]) -> State:
    """Reorder tensors along named axes, each axis in one way wherever it occurs.

    Args:
        state: Tensors of which some are to be reordered.
        axes: Tensor to the names of its axes, None for an axis that stays.
        order: Axis to its new order: `new[i] = old[order[i]]`.

    Raises:
        BadInput: an order that is no permutation.
        ShapeMismatch: a tensor or an axis that is not there, or of another length.

    Example:
        >>> permute({"w": torch.eye(2)}, {"w": ("hidden", None)}, {"hidden": torch.tensor([1, 0])})["w"]
        tensor([[0., 1.],
                [1., 0.]])
    """
    given = State.of(state)
    check_known(axes, given, "the axes name", "the state")
    for axis, new in order.items():
        if not torch.equal(new.sort().values.cpu(), torch.arange(len(new))):
            raise BadInput(f"the order of {axis!r} is no permutation of {len(new)} places. Give each place once")
    for name, named in axes.items():
        shape = given.forms[name].shape
        if len(named) != len(shape):
            raise ShapeMismatch(f"{name!r} has shape {shape}, and {len(named)} axes are named. Name each, or None")
        check_known([a for a in named if a is not None], order, f"{name!r} has the axis", "the order")
        for axis, size in zip(named, shape, strict=True):
            if axis is not None and len(order[axis]) != size:
                raise ShapeMismatch(
                    f"{name!r} has {size} places along {axis!r}, its order {len(order[axis])}. Give one order a width"
                )

    def read(name: str, x: Tensor) -> Tensor:
        for dim, axis in enumerate(axes.get(name, ())):
            x = x if axis is None else x.index_select(dim, order[axis].to(x.device))
        return x

    return _map(given, read, floats=False)


def inner(one: Tensors, other: Tensors) -> float:
    """Inner product of two changes, in float64; reads one tensor of each at a time.

    Raises:
        ShapeMismatch: the two are not of one model.
    """
    first, second = State.of(one), State.of(other)
    check_alike(first, second)
    total = 0.0
    for name in first.floats:
        x = first[name].flatten()
        y = second[name].to(x.device).flatten()
        total += sum(
            float((a.double() * b.double()).sum()) for a, b in zip(x.split(_PART), y.split(_PART), strict=True)
        )
    return total


def project_off(change: Tensors, other: Tensors, *, strength: float = 1.0, together: bool = False) -> State:
    """Remove from a change what lies along another one.

        change - strength <change, other> / <other, other> other

    Args:
        change: A difference of states, or a gradient.
        other: What to remove, of the same names and shapes; a tensor of zeros removes nothing.
        strength: Share removed; 1 leaves the two orthogonal.
        together: Take all tensors as one long vector; else each by itself.

    Raises:
        ShapeMismatch: the two are not of one model.
    """
    moved, away = State.of(change), State.of(other)
    check_alike(moved, away)
    whole = _share(inner(moved, away), inner(away, away)) if together else 0.0

    def read(name: str, x: Tensor) -> Tensor:
        y = away[name].to(x.device)
        share = whole if together else _share(inner({"": x}, {"": y}), inner({"": y}, {"": y}))
        return (x.to(wide(x, y)) - strength * share * y.to(wide(x, y))).to(x.dtype)

    return _map(moved, read)


def without_conflict(change: Tensors, other: Tensors, *, strength: float = 1.0) -> Tensors:
    """A gradient without what works against another one, all tensors taken together; as it is where the two agree.

    Args:
        change: The gradient.
        other: Of the same names and shapes.
        strength: Share of the conflict that is removed.

    Raises:
        ShapeMismatch: the two are not of one model.

    Example:
        >>> without_conflict({"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([-1.0, 0.0])})["w"]
        tensor([0., 1.])
    """
    return change if inner(change, other) >= 0 else project_off(change, other, strength=strength, together=True)


def _numbers(by: Number, names: Sequence[str]) -> Mapping[str, float]:
    if not isinstance(by, Mapping):
        return dict.fromkeys(names, by)
    check_known(names, by, "the tensors have", "the table of numbers")
    return {n: by[n] for n in names}


def _share(along: float, size: float) -> float:
    return along / size if size else 0.0


def _map(state: Tensors, read: Callable[[str, Tensor], Tensor], *, floats: bool = True) -> State:
    given = State.of(state)

    def get(name: str) -> Tensor:
        x = given[name]
        return read(name, x) if x.is_floating_point() or not floats else x

    return State(given.forms, get, given.origin)


def _widest(*forms: Form) -> torch.dtype:
    return torch.float64 if any(f.dtype == torch.float64 for f in forms) else torch.float32
