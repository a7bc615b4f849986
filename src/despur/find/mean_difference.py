"""Directions along which an adapter moves the activations: their mean, and their principal components."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from despur.core import Subspace, method
from despur.core.finder import Finder
from despur.find.from_activations import apart, principal


@method(room="find", paper="Belrose et al. 2023; model diffing: arXiv:2510.13900")
class MeanDifference(Finder):
    """Take the direction from one mean to the other.

    With labels y (0 or 1) it is the difference of the class means; without, the rows are themselves
    differences (adapter minus base) and it is their mean. Cost O(n d).

        v = mean(X[y == 1]) - mean(X[y == 0])     or     v = mean(X)

    Attributes:
        factors_: One factor of one direction; its centre is the overall mean with labels, zero without.

    Raises:
        BadInput: the means coincide, or y has not two classes.

    Example:
        >>> rows = np.array([[1.0, 1.0], [3.0, 3.0]])
        >>> MeanDifference().fit(rows).factors_[0].read
        tensor([[0.7071, 0.7071]])

    Source: difference in means, Belrose et al. 2023; as persona vectors in arXiv:2507.21509.
    Differs: nothing known.
    Limits: one direction; mixes length, topic and register of the two sides when they differ in those.
    """

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "MeanDifference":
        """Fit on rows X (n, d), with classes y (n,) or none."""
        rows = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32]), dtype=np.float64)
        labels = None if y is None else np.asarray(y)
        if labels is None or len(np.unique(labels)) == 1:
            direction, center = rows.mean(0), np.zeros(rows.shape[1])
        else:
            high = labels == np.unique(labels)[-1]
            direction, center = rows[high].mean(0) - rows[~high].mean(0), rows.mean(0)
        found = Subspace.orthonormal(torch.from_numpy(apart(direction, rows)), method="MeanDifference", n=len(rows))
        self.factors_ = (
            Subspace(found.read, found.write, torch.from_numpy(center).float(), found.site, found.evidence),
        )
        return self


@method(room="find", paper="Casademunt et al. 2025, arXiv:2507.16795 (its PCA variant)")
class DifferencePCA(Finder):
    """Take the leading principal components of activation differences.

    Cost O(n d²). `factors_` holds one factor of `rank` directions, in order of the variance they explain.

    Args:
        rank: Number of directions.
        center: Subtract the mean first. False keeps the mean shift as part of what is found.

    Attributes:
        factors_: One factor; `evidence["share"]` holds each direction's share of the energy.

    Raises:
        BadInput: fewer independent rows than `rank`.

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
        directions, shares = principal(rows, self.rank)
        self.factors_ = (
            Subspace.orthonormal(torch.from_numpy(directions), method="DifferencePCA", share=shares, n=len(rows)),
        )
        return self
