"""The direction from one mean to another."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from despur.core import Subspace, method
from despur.core.errors import BadInput
from despur.core.finder import Finder


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
        if np.linalg.norm(direction) <= 1e-12 * max(1.0, float(np.abs(rows).max())):
            raise BadInput("the means coincide, so there is no direction between them. Do the two sides differ at all?")
        factor = Subspace.orthonormal(torch.from_numpy(direction[None]), method="MeanDifference", n=len(rows))
        self.factors_ = (
            Subspace(factor.read, factor.write, torch.from_numpy(center).float(), factor.site, factor.evidence),
        )
        return self
