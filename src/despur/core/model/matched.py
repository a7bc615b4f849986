"""Matched random subspaces: as large a part of the stream as a factor."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.model.capture import capture
from despur.core.types import Site, Subspace


class Axes(NamedTuple):
    """Principal axes of activations: variances, the smallest first, and directions in columns; float64.

    Decomposing a covariance takes seconds at a width of thousands, so that many draws share one.
    """

    values: Float[Tensor, " d"]
    vectors: Float[Tensor, "d d"]

    @classmethod
    def of(cls, covariance: Float[Tensor, "d d"]) -> "Axes":
        """Decompose a covariance; zero variances come out as 1e-9 of the largest."""
        values, vectors = torch.linalg.eigh(covariance.double())
        return cls(values.clamp(min=float(values.max()) * 1e-9), vectors)


def matched_random(
    factor: Subspace,
    covariance: Float[Tensor, "d d"],
    *,
    generator: torch.Generator,
    axes: Axes | None = None,
) -> Subspace:
    """Draw a random subspace of the same rank with the same share of activation variance.

    Gaussian directions are tilted by a power of the covariance, found by bisection, until the share fits.

    Args:
        factor: What to match.
        covariance: Of the activations at the site (d, d).
        generator: Source of the draw.
        axes: Of that covariance, where they were taken already.

    Example:
        >>> factor = Subspace.orthonormal(torch.eye(1, 4))
        >>> drawn = matched_random(factor, torch.diag(torch.tensor([4.0, 1, 1, 1])), generator=torch.Generator().manual_seed(0))
        >>> round(float(drawn.read @ torch.diag(torch.tensor([4.0, 1, 1, 1])) @ drawn.read.T), 2)
        4.0
    """
    values, vectors = axes or Axes.of(covariance)
    target = activation_share(factor, covariance)
    noise = torch.randn(factor.width, factor.rank, generator=generator, dtype=torch.float64)

    def tilted(power: float) -> Tensor:
        return torch.linalg.qr((values / values.max())[:, None] ** power * noise).Q

    low, high = -4.0, 4.0
    for _ in range(50):
        middle = (low + high) / 2
        q = tilted(middle)
        share = float((values[:, None] * q.square()).sum() / values.sum())
        low, high = (middle, high) if share < target else (low, middle)
    return Subspace.orthonormal((vectors @ tilted((low + high) / 2)).T, site=factor.site, method="matched_random")


def activation_share(factor: Subspace, covariance: Float[Tensor, "d d"]) -> float:
    """Share of the activations' variance inside the factor, in [0, 1]."""
    v = factor.read.double()
    return float((v @ covariance.double() @ v.T).trace() / covariance.double().trace())


@torch.no_grad()
def random_twins(
    model: nn.Module,
    factors: Sequence[Subspace],
    rows: Sequence[Sequence[int]],
    *,
    draws: int = 1,
    sites: Sequence[Site] | None = None,
    seed: int = 0,
) -> list[tuple[Subspace, ...]]:
    """Draw random subspaces with each factor's site, rank and share of the model's activation variance.

    Args:
        model: The model to measure; switch an adapter off before.
        factors: What to match.
        rows: Token rows.
        draws: How many of each factor.
        sites: Where each factor's share is measured, where that is not its own site.
        seed: Of the draws.
    """
    where = [f.site for f in factors] if sites is None else list(sites)
    seen, _ = capture(model, rows, list(dict.fromkeys(where)))
    covariances = {site: torch.cov(stream.T) for site, stream in seen.items()}
    axes = {site: Axes.of(covariance) for site, covariance in covariances.items()}
    generator = torch.Generator().manual_seed(seed)
    return [
        tuple(
            matched_random(f, covariances[s], generator=generator, axes=axes[s])
            for f, s in zip(factors, where, strict=True)
        )
        for _ in range(draws)
    ]
