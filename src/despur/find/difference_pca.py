"""The principal components of activation differences."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import validate_data

from despur.core import Subspace, method
from despur.core.errors import BadInput
from despur.core.finder import Finder

_ROUNDING = 1e-12  # of the largest energy: less is no direction


@method(room="find", paper="Casademunt et al. 2025, arXiv:2507.16795 (its PCA variant)")
class DifferencePCA(Finder):
    """Take the leading principal components of activation differences.

    Cost O(n d²). `factors_` has one factor of `rank` directions, in order of the variance they explain.

    Args:
        rank: Number of directions, at most: differences that span fewer have fewer.
        center: Subtract the mean first. False keeps the mean shift as part of what is found.

    Attributes:
        factors_: One factor; `evidence["share"]` has each direction's share of the energy.

    Raises:
        BadInput: every difference is zero.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(50, 4)) * [9, 1, 1, 1]
        >>> DifferencePCA(rank=1).fit(rows).factors_[0].read.abs().argmax().item()
        0

    Source: Casademunt et al. 2025, arXiv:2507.16795.
    Differs: nothing is chosen by a reader; not centred by default, since the mean shift is what a
        constant factor adds.
    Limits: finds what is large, not what is causal.
    """

    def __init__(self, *, rank: int = 1, center: bool = False) -> None:
        self.rank, self.center = rank, center

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "DifferencePCA":
        """Fit on difference rows X (n, d)."""
        rows = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32]), dtype=np.float64)
        if self.center:
            rows = rows - rows.mean(0)
        directions, shares = _principal(rows, self.rank)
        self.factors_ = (
            Subspace.orthonormal(torch.from_numpy(directions), method="DifferencePCA", share=shares, n=len(rows)),
        )
        return self


def _principal(rows: Float[np.ndarray, "n d"], rank: int) -> tuple[Float[np.ndarray, "k d"], list[float]]:
    """Principal directions of the rows, their mean left in, and each one's share of the energy."""
    energy, basis = np.linalg.eigh(rows.T @ rows)
    energy, basis = energy[::-1].clip(0), basis[:, ::-1].T
    if energy[0] <= 0:
        raise BadInput("every difference is zero, so there is no direction to find. Do the two models differ here?")
    rank = min(rank, int((energy > _ROUNDING * energy[0]).sum()))
    return basis[:rank].copy(), (energy[:rank] / energy.sum()).tolist()
