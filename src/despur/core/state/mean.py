"""The mean of several states, each number by its own weight."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.state.tensors import State, Tensors, check_alike, check_known, wide

Weight = int | float | Mapping[str, int | float] | Tensors  # of all tensors alike, one a tensor, or one a number


def weighted_mean(states: Sequence[Tensors], weights: Sequence[Weight] | None = None, *, floor: float = 0.0) -> State:
    """Mean of several states, each number by its own weight.

        mean = sum_i w_i x_i / sum_i w_i

    Args:
        states: Of one model.
        weights: For each state a number, a number a tensor, or (such as a Fisher importance) a tensor a tensor; equal if None.
        floor: Added to every weight, so that none is zero.

    Raises:
        BadInput: no states, another number of weights, a negative weight, weights that add up to zero, or counts that differ.
        ShapeMismatch: states or weights of different models.

    Example:
        >>> weighted_mean([{"w": torch.zeros(2)}, {"w": torch.ones(2)}], [1, 3])["w"]
        tensor([0.7500, 0.7500])
    """
    if not states or (weights is not None and len(weights) != len(states)):
        raise BadInput(
            f"{len(states)} states came with {'no' if weights is None else len(weights)} weights. "
            "Give at least one state, and a weight for each"
        )
    given = [State.of(s) for s in states]
    check_alike(*given)
    by = weights or [1.0] * len(given)
    for weight in by:
        if isinstance(weight, Mapping):
            check_known(given[0].floats, weight, "the states have", "a weight")
    numbers = [w for w in by if not isinstance(w, Mapping)]
    if any(not w >= 0 for w in numbers) or (len(numbers) == len(by) and not sum(numbers) + floor):
        raise BadInput(f"weights={numbers}; weights are 0 and above, and not all of them 0")

    def read(name: str) -> Tensor:
        first = given[0][name]
        if not first.is_floating_point():
            if any(not torch.equal(first, s[name]) for s in given[1:]):
                raise BadInput(f"{name!r} contains no floats and differs between the states. Copy it from one of them")
            return first
        dtype = wide(first)
        total, size = torch.zeros_like(first, dtype=dtype), torch.zeros_like(first, dtype=dtype)
        for state, weight in zip(given, by, strict=True):
            w = _number(weight, name, first) + floor
            total += w * state[name].to(first.device, dtype)
            size += w
        if not (size > 0).all():
            raise BadInput(f"the weights of {name!r} add up to zero somewhere. Give a floor above 0")
        return (total / size).to(first.dtype)

    return State(given[0].forms, read, "a mean")


def _number(weight: Weight, name: str, like: Tensor) -> Tensor:
    value = weight[name] if isinstance(weight, Mapping) else weight
    w = torch.as_tensor(value, device=like.device, dtype=wide(like))
    if w.ndim and w.shape != like.shape:
        raise ShapeMismatch(
            f"the weight of {name!r} has shape {tuple(w.shape)}, the state's {tuple(like.shape)}. Give one a number"
        )
    if not (w >= 0).all():
        raise BadInput(f"the weight of {name!r} is negative or NaN somewhere. Give weights of 0 and above")
    return w
