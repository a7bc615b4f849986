"""Trained matrices that lie in the same memory under several names: each must leave alone what any of them must."""

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn

from despur.core.errors import CannotAttach
from despur.core.model.shards import local
from despur.guard._projection import Projection

_SPARE = 1e-10  # share of a joint basis's largest direction below which another one is rounding


def place(weight: Tensor) -> Hashable:
    """Where a tensor's numbers lie; tensors of one place change together, whatever they are called."""
    part = local(weight.detach())
    return (part.device, part.data_ptr()) if part.numel() and not part.is_meta else id(weight)


def joined(model: nn.Module, projections: Mapping[str, Projection]) -> dict[str, Projection]:
    """One projection a place: PEFT lets tied LoRA of both ends share its numbers, and users share A between maps.

    Projecting the one name after the other would undo the first where their bases are not at right angles.

    Args:
        model: The model; its parameters are listed under all of their names.
        projections: Of each name, already on the device of its weight.

    Returns:
        Of each name that `model.named_parameters()` lists once.

    Raises:
        CannotAttach: two names of one place that no single projection can serve.
    """
    every = dict(model.named_parameters(remove_duplicate=False))
    once = dict(model.named_parameters())
    groups: dict[Hashable, list[str]] = {}
    for name, weight in every.items():
        groups.setdefault(place(weight), []).append(name)
    out: dict[str, Projection] = {}
    for names in groups.values():
        some = [n for n in names if n in projections]
        if not some:
            continue
        sources = {id(projections[n].source) for n in some}
        whole = any(projections[n].anchor is not None for n in some)
        forms = {_form(every[n], projections[n]) for n in some}
        if len(forms) > 1 or (whole and len(sources) > 1):
            raise CannotAttach(
                f"{some[0]!r} and {some[1]!r} share their numbers, and no single projection can serve both. Train each with "
                "numbers of its own, or freeze one"
            )
        first = projections[some[0]]
        basis = first.source if len(sources) == 1 else _union([projections[n].basis for n in some])
        for name in [n for n in names if n in once and once[n].requires_grad]:
            rows = _form(every[name], None) == next(
                iter(forms)
            )  # whether it is the first dimension, in this orientation
            out[name] = Projection(basis, rows, first.anchor, first.cut)
    return out


def _form(weight: Tensor, projection: Projection | None) -> tuple[int, int, int]:
    """Size and stride of the projected dimension, and how many numbers there are; None is the first dimension."""
    part = local(weight.detach())
    axis = 0 if projection is None or projection.rows else part.ndim - 1
    return part.shape[axis], part.stride(axis), part.numel()


def _union(bases: list[Tensor]) -> Tensor:
    joint = torch.cat([b.double() for b in bases])
    _, s, vh = torch.linalg.svd(joint, full_matrices=False)
    return vh[s.square() > _SPARE * s[0].square()].float().contiguous()
