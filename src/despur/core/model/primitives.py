"""Activation edits that many methods use."""

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.types import Context, Edit, Factor


@final
class AddVector(Edit):
    """x + shift: steering, the same vector at every position; of (b, 1, d), each row of a batch has its own.

    Example:
        >>> from despur.core import Site, attach
        >>> model, trait = torch.nn.Sequential(torch.nn.Identity()), torch.tensor([1.0, 0.0])
        >>> with attach(model, {Site("0"): AddVector(-2 * trait)}):  # against the trait at test time, weights untouched
        ...     model(torch.ones(1, 2))
        tensor([[-1.,  1.]])
    """

    point = "activation"
    shift: Tensor

    def __init__(self, shift: Float[Tensor, "*b d"]) -> None:
        super().__init__()
        self.register_buffer("shift", shift.detach().clone(), persistent=True)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """(*b, d) -> (*b, d)."""
        return {name: x + self.shift.to(x) for name, x in tensors.items()}


@final
class ProjectOut(Edit):
    """x - strength decode(encode(x)): a factor's part of x, removed in full or in part; gradients pass.

    In float32, under autocast too: in bfloat16 a basis is no longer orthonormal. The result has the dtype of x.
    """

    point = "activation"

    def __init__(self, factor: Factor, strength: float = 1.0) -> None:
        super().__init__()
        self.factor, self.strength = factor, strength

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """(*b, d) -> (*b, d)."""
        return {name: self._without(x) for name, x in tensors.items()}

    def _without(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float()
            return (wide - self.strength * self.factor.decode(self.factor.encode(wide))).to(x.dtype)


@final
class SwapCoordinates(Edit):
    """x + decode(encode(other) - encode(x)): the factor's coordinates from another run, the rest left alone."""

    point = "activation"

    def __init__(self, factor: Factor, other: Float[Tensor, "*b d"]) -> None:
        super().__init__()
        self.factor, self.other = factor, other

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """(*b, d) -> (*b, d); `other` has the same shape."""
        f = self.factor
        return {name: x + f.decode(f.encode(self.other.to(x)) - f.encode(x)) for name, x in tensors.items()}
