"""How much modules agree that share nothing: each one's rows rotated at random, keeping lengths and angles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from despur.find._leading import DENSE, leading


def tracy_widom() -> Any:
    """The Tracy-Widom law of real matrices as a shifted gamma law, to .005 of probability (Chiani 2014, arXiv:1209.3394)."""
    from scipy.stats import gamma  # half a second to import, and small adapters need none of it

    return gamma(46.446, loc=-9.84801, scale=0.186054)


def energies(parts: Sequence[Float[Tensor, "_r d"]]) -> list[Float[Tensor, " _k"]]:
    """Energies of each part along its own orthogonal directions, the largest first."""
    small = [p @ p.T if len(p) <= p.shape[1] else p.T @ p for p in parts]
    return [torch.linalg.eigvalsh(gram.double()).clamp_min(0).flip(0) for gram in small]


def turned_top(spectra: Sequence[Float[Tensor, " _k"]], d: int, rng: torch.Generator, dtype: torch.dtype) -> float:
    """Draw a random frame for each spectrum and give the largest eigenvalue of the sum: one replicate."""
    n = sum(len(s) for s in spectra)
    rows = torch.randn(n, d, generator=rng, dtype=dtype)
    for part, spectrum in zip(rows.split([len(s) for s in spectra]), spectra, strict=True):
        frame = torch.linalg.qr(part.T).Q.T
        torch.mul(frame, spectrum.sqrt().to(dtype)[:, None], out=part)
    if min(n, d) > DENSE:
        return float(leading(rows, 1)[0])
    gram = rows @ rows.T if n < d else rows.T @ rows
    return float(torch.linalg.eigvalsh(gram)[-1])


def edge(spectra: Sequence[Float[Tensor, " _k"]], d: int) -> tuple[float, float]:
    """Where the largest eigenvalue of that sum lies for large d, and its scale: no draws, O(sum r).

    The sum of freely turned matrices has the spectrum of their free convolution: with G_g the Cauchy transform
    of part g and K_g its inverse, K(x) = sum_g K_g(x) - (m - 1) / x; its minimum over x > 0 is the upper edge,
    and its curvature there gives the scale of the Tracy-Widom fluctuations about the edge.

        top = edge + scale * TW,   scale = (K'' / 2)^(1/3) d^(-2/3)

    Where leading directions must meet (one part, or parts as wide as the space) the largest eigenvalue is the
    sum of the parts' largest, exactly: scale 0.
    """
    width = max(len(s) for s in spectra)
    table = np.zeros((len(spectra), width))
    for row, s in zip(table, spectra, strict=True):
        row[: len(s)] = s.numpy()
    if np.sum(table >= table[:, :1] * (1 - 1e-9)) >= (len(table) - 1) * d:
        return float(table[:, 0].sum()), 0.0
    low = np.log(1 / table.sum()) - 7

    def slope(log_x: float) -> float:
        return _inverse(table, d, np.exp(log_x))[1]

    high = low + 14
    while slope(high) < 0:
        high += 7
    from scipy.optimize import root_scalar

    value, _, curve = _inverse(table, d, float(np.exp(root_scalar(slope, bracket=(low, high), xtol=1e-9).root)))
    return value, (curve / 2) ** (1 / 3) * d ** (-2 / 3)


def _inverse(table: np.ndarray, d: int, x: float) -> tuple[float, float, float]:
    """K at x, x² K' and K''."""
    m, width = table.shape
    below = table[:, :1] - table
    low, high = np.full(m, np.log(1 / (d * x))), np.full(m, np.log(1 / x))
    for _ in range(60):  # log of how far above a part's largest energy its transform has fallen to x
        middle = (low + high) / 2
        gap = np.exp(middle)[:, None]
        mass = ((1 / (gap + below)).sum(1) + (d - width) / (gap[:, 0] + table[:, 0])) / d
        low, high = np.where(mass > x, middle, low), np.where(mass > x, high, middle)
    gap = np.exp((low + high) / 2)[:, None]
    near, far = 1 / (gap + below), 1 / (gap[:, 0] + table[:, 0])
    first = -((near**2).sum(1) + (d - width) * far**2) / d
    second = 2 * ((near**3).sum(1) + (d - width) * far**3) / d
    value = (gap[:, 0] + table[:, 0]).sum() - (m - 1) / x
    return float(value), float((x**2 / first).sum() + m - 1), float((-second / first**3).sum() - 2 * (m - 1) / x**3)
