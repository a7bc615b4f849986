"""Masks on weights: cut off, cut off with the gradient of the whole, or faded out."""

from collections.abc import Callable

import torch
from torch import Tensor

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.masks.formats import Tensors, same_names


def hard(weights: Tensors, mask: Tensors) -> dict[str, Tensor]:
    """Set to zero what is not chosen; its gradient is zero, too. Weights without a mask stay as they are.

    Raises:
        ShapeMismatch: a mask for another tensor, or of another shape.

    Example:
        >>> hard({"w": torch.ones(2)}, {"w": torch.tensor([True, False])})["w"]
        tensor([1., 0.])
    """
    return _apply(weights, mask, lambda w, m: torch.where(m, w, torch.zeros_like(w)))


def straight_through(weights: Tensors, mask: Tensors) -> dict[str, Tensor]:
    """As `hard`, but the gradient passes as if nothing were cut, so that a weight can come back.

    Raises:
        ShapeMismatch: a mask for another tensor, or of another shape.
    """
    return _apply(weights, mask, lambda w, m: w + (torch.where(m, w, torch.zeros_like(w)) - w).detach())


def decayed(weights: Tensors, mask: Tensors, share: float) -> dict[str, Tensor]:
    """Multiply what is not chosen by a share, which a schedule takes from 1 to 0.

        w (mask + (1 - mask) share)

    Raises:
        BadInput: the share is not in [0, 1].
        ShapeMismatch: a mask for another tensor, or of another shape.
    """
    if not 0 <= share <= 1:
        raise BadInput(f"share={share}; what is left of a weight lies in [0, 1]")
    return _apply(weights, mask, lambda w, m: torch.where(m, w, share * w))


def gate(real: Tensors, mask: Tensors) -> dict[str, Tensor]:
    """The mask as numbers 0 and 1 whose gradient passes to the real values that it was chosen by, so that they can be trained.

    Raises:
        ShapeMismatch: a mask for another tensor, or of another shape.
    """
    same_names(real, mask, "mask")
    return _apply(real, mask, lambda r, m: m.to(r) + (r - r.detach()))


def _apply(weights: Tensors, mask: Tensors, one: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
    same_names(weights, mask, "mask", whole=False)
    for name, m in mask.items():
        if m.shape != weights[name].shape:
            shapes = f"{tuple(weights[name].shape)}, its mask {tuple(m.shape)}"
            raise ShapeMismatch(f"{name!r} has shape {shapes}. Choose the mask from scores of these weights")
    return {n: one(w, mask[n].to(w.device) != 0) if n in mask else w for n, w in weights.items()}
