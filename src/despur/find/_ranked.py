"""Directions ranked by the energy that groups of rows share along them, beside a null."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from despur.find._leading import leading
from despur.find._null import edge, energies, tracy_widom, turned_top

Null = Literal["auto", "rotation", "edge"]
_DRAWN = 2**17  # numbers in the rows up to which a hundred rotations are drawn in a fraction of a second
_TIE = 1 + 1e-6  # what is larger by rounding is not larger


class Ranked(NamedTuple):
    """Directions by their share of the rows' energy, and their p values under the null.

    Args:
        agreement: (k,) share of the energy along each direction, the largest first.
        directions: (k, d) unit vectors.
        threshold: What the null's largest reaches at the level.
        p: (k,) how often the null's largest reaches each share.
        null: Which null it was: `"rotation"` or `"edge"`; `"none"` where none was asked for.
    """

    agreement: Float[np.ndarray, " k"]
    directions: Float[Tensor, "k d"]
    threshold: float
    p: Float[np.ndarray, " k"]
    null: str

    @property
    def found(self) -> int:
        """How many of the leading directions beat the null."""
        beats = self.agreement > self.threshold * _TIE
        return int(len(beats) if beats.all() else np.argmin(beats))


def rank_directions(
    rows: Float[Tensor, "n d"], sizes: list[int], *, rank: int, null: Null, nulls: int, level: float, seed: int
) -> Ranked:
    """Rank directions by the rows' energy along them; see `SharedDirections`.

    Args:
        rows: Rows of all groups, one group behind the other, weighed already; their energy adds up to 1.
        sizes: Rows in each group.
        rank: Directions wanted.
        null: How the threshold is found.
        nulls: Rotations behind it; 0 asks for no threshold.
        level: Its false-positive rate.
        seed: Seeds the rotations.
    """
    n, d = rows.shape
    values, directions = leading(rows, rank)
    agreement = values.clamp_min(0).numpy()
    if not nulls:
        return Ranked(agreement, directions, 0.0, np.ones(len(agreement)), "none")
    spectra = energies(rows.split(sizes))
    if null == "rotation" or (null == "auto" and n * d <= _DRAWN):
        rng = torch.Generator().manual_seed(seed)
        tops = np.array([turned_top(spectra, d, rng, rows.dtype) for _ in range(nulls)])
        threshold = float(np.quantile(tops, 1 - level, method="higher"))
        p = (1 + (tops * _TIE >= agreement[:, None]).sum(1)) / (1 + nulls)
        return Ranked(agreement, directions, threshold, p, "rotation")
    middle, scale = edge(spectra, d)
    law = tracy_widom()
    p = law.sf((agreement / _TIE - middle) / max(scale, 1e-9 * middle))
    return Ranked(agreement, directions, middle + scale * float(law.isf(level)), p, "edge")
