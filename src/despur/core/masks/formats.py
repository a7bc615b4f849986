"""The formats that a mask may have, whether it has it, and how many weights it chooses.

A mask is True where a weight is chosen: what pruning leaves, what a sparse tune trains.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from despur.core.errors import BadInput, ShapeMismatch, nearest

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Free:
    """Each weight by itself."""


@dataclass(frozen=True)
class NofM:
    """At most n of any m neighbors along an axis, such as 2 of 4.

    Args:
        n: Chosen of each block.
        m: Length of a block.
        dim: The axis; the last one of a linear map's weight is what it reads.

    Raises:
        BadInput: n is not within m.
    """

    n: int
    m: int
    dim: int = -1

    def __post_init__(self) -> None:
        if not 0 <= self.n <= self.m or self.m < 1:
            raise BadInput(f"n={self.n}, m={self.m}; of each block of m at most n are chosen, so 0 <= n <= m")


@dataclass(frozen=True)
class Group:
    """Whole slices along an axis: rows (0), columns (1), or heads (as many rows as a head has).

    Args:
        dim: The axis.
        size: Neighboring slices of one group.
        joined: Tensors that name the same word are chosen together, such as what a neuron reads and what it writes.

    Raises:
        BadInput: a group of no slices.
    """

    dim: int = 0
    size: int = 1
    joined: str = ""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise BadInput(f"size={self.size}; a group has at least 1 slice")


Format = Free | NofM | Group
Formats = Format | Mapping[str, Format]  # one for all tensors, or one a tensor


class Counts(NamedTuple):
    """How many weights a mask chooses.

    Args:
        layers: By tensor: chosen, and all.
        chosen: In all tensors.
        all: Weights in all tensors.
    """

    layers: dict[str, tuple[int, int]]
    chosen: int
    all: int


def counts(mask: Tensors) -> Counts:
    """Count what a mask chooses, by layer and in all.

    Example:
        >>> counts({"w": torch.tensor([True, False])})
        Counts(layers={'w': (1, 2)}, chosen=1, all=2)
    """
    layers = {n: (int(m.count_nonzero()), m.numel()) for n, m in mask.items()}
    return Counts(layers, *(sum(c[i] for c in layers.values()) for i in (0, 1)))


def valid(mask: Tensors, form: Formats) -> bool:
    """Whether a mask has a format: blocks with at most n, groups whole and alike where they are joined.

    Raises:
        ShapeMismatch: formats for other tensors, or an axis that a tensor lacks.

    Example:
        >>> two_of_four = {"w": torch.tensor([[True, False, True, False]])}
        >>> valid(two_of_four, NofM(2, 4)), valid(two_of_four, NofM(1, 4)), valid(two_of_four, Group(0))
        (True, False, False)
    """
    return not invalid(mask, form)


def invalid(mask: Tensors, form: Formats) -> tuple[str, ...]:
    """Names of the tensors whose mask breaks its format; of joined ones those that differ from the first.

    Raises:
        ShapeMismatch: formats for other tensors, or an axis that a tensor lacks.
    """
    wrong: list[str] = []
    joined: dict[str, Tensor] = {}
    for name, shape in formats_of(mask, form).items():
        one = mask[name] != 0
        if isinstance(shape, Free):
            continue
        if one.shape[axis(name, one, shape.dim)] % (shape.m if isinstance(shape, NofM) else shape.size):
            wrong.append(name)
        elif isinstance(shape, NofM):
            if (blocks(name, one, shape).sum(1) > shape.n).any():
                wrong.append(name)
        else:
            groups = units(name, one, shape)
            first = joined.setdefault(shape.joined or name, groups[:, 0]).to(groups.device)
            if len(first) != len(groups) or (groups != first[:, None]).any():
                wrong.append(name)
    return tuple(wrong)


def formats_of(tensors: Tensors, form: Formats) -> dict[str, Format]:
    """The format of each tensor.

    Raises:
        ShapeMismatch: formats for other tensors.
    """
    if not isinstance(form, Mapping):
        return dict.fromkeys(tensors, form)
    same_names(tensors, form, "format")
    return {n: form[n] for n in tensors}


def same_names(tensors: Tensors, given: Iterable[str], what: str, *, whole: bool = True) -> None:
    """Refuse what is given by name for other tensors.

    Raises:
        ShapeMismatch: it names a tensor that is not there or, if it must be whole, lacks one.
    """
    given = set(given)
    for name in sorted(given - set(tensors)):
        raise ShapeMismatch(f"there is a {what} for {name!r}, and no such tensor{nearest(name, tensors)}. Leave it out")
    for name in tensors if whole else ():
        if name not in given:
            raise ShapeMismatch(f"there is no {what} for {name!r}{nearest(name, given)}. Give one a tensor")


def axis(name: str, tensor: Tensor, dim: int) -> int:
    """The axis counted from the front.

    Raises:
        ShapeMismatch: the tensor lacks it.
    """
    if not -tensor.ndim <= dim < tensor.ndim:
        raise ShapeMismatch(f"{name!r} has shape {tuple(tensor.shape)} and no axis {dim}. Give a format that fits it")
    return dim % tensor.ndim


def units(name: str, tensor: Tensor, form: Free | Group) -> Tensor:
    """The tensor as (units, weights of one unit).

    Raises:
        ShapeMismatch: the axis is not there, or no multiple of a group.
    """
    if isinstance(form, Free):
        return tensor.reshape(-1, 1)
    return _cut(name, tensor.movedim(axis(name, tensor, form.dim), 0), form.size, 0).flatten(1)


def blocks(name: str, tensor: Tensor, form: NofM) -> Tensor:
    """The tensor as (blocks, m).

    Raises:
        ShapeMismatch: the axis is not there, or no multiple of m.
    """
    return _cut(name, tensor.movedim(axis(name, tensor, form.dim), -1), form.m, -1).flatten(0, -2)


def _cut(name: str, tensor: Tensor, size: int, dim: int) -> Tensor:
    if tensor.shape[dim] % size:
        raise ShapeMismatch(
            f"{name!r} has {tensor.shape[dim]} places along the axis, which blocks of {size} do not fill. Give another size"
        )
    return tensor.unflatten(dim, (tensor.shape[dim] // size, size))
