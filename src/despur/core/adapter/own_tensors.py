"""Tensors of the base's own in an adapter's file: copies of what the base has, or trained."""

from collections.abc import Mapping

import torch
from torch import Tensor

from despur.core.adapter.adapter import OWN_BASE
from despur.core.adapter.peft_folder import WEIGHTS, Opened
from despur.core.errors import ShapeMismatch


@torch.no_grad()
def trained_copies(own: Mapping[str, Tensor], before: Mapping[str, Tensor], opened: Opened) -> dict[str, Tensor]:
    """Those of the base tensors in an adapter's file that were trained; tied ones under all of their names."""
    changed: dict[str, Tensor] = {}
    for name, tensor in own.items():
        old = before.get(name)
        if old is None or old.shape != tensor.shape:
            size = None if old is None else tuple(old.shape)
            raise ShapeMismatch(
                f"{str(opened.folder / WEIGHTS)!r} carries its own {name!r} of shape {tuple(tensor.shape)}, this base has "
                f"{size}: its vocabulary was resized, or it was trained on another base. Give the base resized in the same way"
            )
        new = tensor.to(old.device, old.dtype)
        if same(new, old.detach()) or _rounded(tensor, old):
            continue
        if old.ndim > 1 and float((new.float() - old.float()).norm()) > 0.5 * float(old.float().norm()):
            raise ShapeMismatch(
                f"{str(opened.folder)!r} carries its own {name!r}, whose values are not this base's: {OWN_BASE}"
            )
        changed |= {n: new for n, w in before.items() if w.data_ptr() == old.data_ptr() and n not in own} | {name: new}
    return changed


def clones(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors; what is one tensor stays one."""
    one: dict[int, Tensor] = {}
    return {n: one.setdefault(id(w), w.detach().clone()) for n, w in weights.items()}


@torch.no_grad()
def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one, or equal."""
    return a is b or (a.data_ptr() == b.data_ptr() and a.shape == b.shape) or torch.equal(a, b)


@torch.no_grad()
def _rounded(tensor: Tensor, old: Tensor) -> bool:
    """Whether a copy is the base's tensor as bfloat16 holds it, whatever it is stored in."""
    short = tensor.to(old.device, torch.bfloat16)
    return torch.equal(short.to(tensor.dtype), tensor.to(old.device)) and torch.equal(short, old.bfloat16())
