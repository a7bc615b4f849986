"""A factor's coordinates on some text, for guards that keep them."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from despur.core import EVERYWHERE, Subspace
from despur.core.errors import CannotAttach
from despur.guard._hold_on_text import Batch, stream_at


def with_layers(factor: Subspace | Sequence[Subspace], guard: str) -> tuple[Subspace, ...]:
    """One factor or several, each at a layer, where coordinates can be read.

    Raises:
        CannotAttach: none, or one for every layer.
    """
    factors = (factor,) if isinstance(factor, Subspace) else tuple(factor)
    if not factors or any(f.site.module == EVERYWHERE for f in factors):
        raise CannotAttach(
            f"{guard} needs factors with a layer as site (found by from_activations). Got one for every layer"
        )
    return factors


def coordinates(model: nn.Module, batch: Batch, factors: Sequence[Subspace]) -> dict[str, Float[Tensor, "n k"]]:
    """Coordinates at each counted position, by the factor's number."""
    at = stream_at(model, batch, [f.site for f in factors])
    return {str(i): f.encode(h) for i, (f, h) in enumerate(zip(factors, at, strict=True))}


def spread(of_base: Float[Tensor, "n k"]) -> float:
    """Size of the base's coordinates at one site, so that deep layers with long vectors do not dominate."""
    return max(1e-6, float(of_base.square().sum(-1).mean().sqrt()))
