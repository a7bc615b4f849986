"""Do two subspaces overlap? Their principal angles, beside those of random ones."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from despur.core import Subspace
from despur.core.errors import ShapeMismatch

DRAWS = 20_000


@dataclass(frozen=True)
class Overlap:
    """How far two subspaces of one stream overlap, beside isotropic random ones of their ranks.

    Args:
        cosine: Of the smallest principal angle: 1 where they share a direction.
        cosine_random: What 95 % of pairs of random subspaces stay under.
        energy: Mean squared cosine of all principal angles: 1 where one contains the other.
        energy_random: What 95 % of random pairs stay under.
        p: Share of random pairs whose cosine is as large; at least 1 / 20,001 where it is simulated.
        ranks: Directions of either.
    """

    cosine: float
    cosine_random: float
    energy: float
    energy_random: float
    p: float
    ranks: tuple[int, int]


def overlap(one: Subspace, other: Subspace) -> Overlap:
    """Compare two factors of one base, wherever in the stream they were found.

    The null is two subspaces of the same ranks, one rotated at random. For a single direction against k in
    width d the squared cosine is Beta(k/2, (d - k)/2), exactly; else the largest root of a multivariate Beta,
    simulated. What a factor reads is compared (for an orthogonal one also what it writes).

        cosine = max singular value of R1 R2ᵀ      energy = |R1 R2ᵀ|² / min(k1, k2)

    The null is *optimistic*: activations are far from isotropic, and two unrelated changes that both keep to the few large
    directions of the stream are closer to each other than random ones. A small p means that two factors are
    nearer than chance, not that they are the same.

    Args:
        one: A factor.
        other: Another, of the same width.

    Raises:
        ShapeMismatch: two widths.

    Example:
        >>> line, plane = (Subspace.orthonormal(torch.eye(k, 64)) for k in (1, 2))
        >>> found = overlap(line, plane)
        >>> round(found.cosine, 3), found.p < 1e-6, round(found.cosine_random, 2)
        (1.0, True, 0.3)
    """
    if one.width != other.width:
        raise ShapeMismatch(
            f"factors of width {one.width} and {other.width} are of two streams. Compare factors of one stream"
        )
    bases = [torch.linalg.qr(f.read.double().T).Q for f in (one, other)]
    cosines = torch.linalg.svdvals(bases[0].T @ bases[1]).clamp(max=1)
    ranks = (one.rank, other.rank)
    small, large = min(ranks), max(ranks)
    top, energy = float(cosines[0]), float(cosines.square().sum()) / small
    if small + large > one.width:  # they must share a direction
        return Overlap(top, 1.0, energy, 1.0, 1.0, ranks)
    if small == 1:
        from scipy import stats

        null = stats.beta(large / 2, (one.width - large) / 2)
        limit, p = float(null.ppf(0.95)), float(null.sf(top**2))
        return Overlap(top, limit**0.5, energy, limit, p, ranks)
    tops, energies = _random_pairs(small, large, one.width)
    p = (1 + int((tops >= top - 1e-12).sum())) / (1 + len(tops))
    return Overlap(top, float(np.quantile(tops, 0.95)), energy, float(np.quantile(energies, 0.95)), p, ranks)


@lru_cache(maxsize=64)
def _random_pairs(small: int, large: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest cosine and energy of random pairs: A (A + B)^-1 of two Wishart matrices, so d costs nothing."""
    rng = np.random.default_rng(0)
    inside = rng.standard_normal((DRAWS, large, small))
    a = np.swapaxes(inside, 1, 2) @ inside
    free = width - large  # degrees of freedom of B; Bartlett's triangle in place of (d - k) x k normals
    triangle = np.tril(rng.standard_normal((DRAWS, small, small)), -1)
    for i in range(small):
        triangle[:, i, i] = np.sqrt(rng.chisquare(free - i, DRAWS))
    b = triangle @ np.swapaxes(triangle, 1, 2)
    root = np.linalg.cholesky(a + b)
    half = np.linalg.solve(root, a)
    squares = np.linalg.eigvalsh(np.linalg.solve(root, np.swapaxes(half, 1, 2)))
    return np.sqrt(squares[:, -1].clip(0, 1)), squares.sum(1) / small
