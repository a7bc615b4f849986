"""Activation edits that papers are made of."""

from collections.abc import Mapping
from typing import final

from jaxtyping import Float
from torch import Tensor

from despur.core._types import Context, Edit, Factor


@final
class AddVector(Edit):
    """x + shift: steering, the same vector at every position."""

    point = "activation"
    shift: Tensor

    def __init__(self, shift: Float[Tensor, " d"]) -> None:
        super().__init__()
        self.register_buffer("shift", shift.detach().clone(), persistent=True)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """(*b, d) -> (*b, d)."""
        return {name: x + self.shift.to(x) for name, x in tensors.items()}


@final
class SwapCoordinates(Edit):
    """x + decode(encode(other) - encode(x)): the factor's coordinates from another run, the rest left alone."""

    point = "activation"

    def __init__(self, factor: Factor, other: Float[Tensor, "*b d"]) -> None:
        super().__init__()
        self.factor, self.other = factor, other

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """(*b, d) -> (*b, d); `other` has the very same shape."""
        f = self.factor
        return {name: x + f.decode(f.encode(self.other.to(x)) - f.encode(x)) for name, x in tensors.items()}
