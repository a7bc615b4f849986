"""The contract of everything that finds factors: scikit-learn's, with torch tensors coming out."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class Finder(TransformerMixin, BaseEstimator, ABC):
    """Find factors in rows of width d.

    `fit` sets `factors_`, best first. `transform` reads the coordinates of the first factor,
    `inverse_transform` writes them back.
    """

    factors_: tuple[Any, ...]  # Factors; each finder chooses its kind

    @abstractmethod
    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "Finder":
        """Find factors in X (n, d), with labels y (n,) and groups (n,) where the method uses them."""

    def transform(self, X: Any) -> np.ndarray:
        """Coordinates of X along the first factor, (n, d) -> (n, k)."""
        check_is_fitted(self, "factors_")
        rows = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self.factors_[0].encode(torch.tensor(np.asarray(rows))).numpy()  # a copy: rows may be read-only

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The part of the rows that those coordinates explain, (n, k) -> (n, d)."""
        check_is_fitted(self, "factors_")
        return self.factors_[0].decode(torch.tensor(np.asarray(X, dtype=np.float64))).numpy()
