"""Factor analysis of a table in which cells may be missing."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from despur.core.catalogue import method
from despur.core.errors import BadInput

Rows = Float[np.ndarray, "n d"]
_FLOOR = 1e-6  # of a column's variance: less noise than that is none that a fit could tell from zero


@method(room="latent", paper="Rubin & Thayer 1982, Psychometrika 47, doi:10.1007/BF02293851")
class FactorAnalysis(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Explain the columns of a table by a few hidden coordinates and a noise of each column's own.

    Choose it where columns differ in their noise, which principal components mistake for signal, and where cells are
    missing: NaN means unobserved, in `fit` and everywhere else. A whole table is fitted by scikit-learn's
    FactorAnalysis, in O(n d min(n, d)) a round; one with holes from there on by EM over the cells that are there,
    in O(n d k²) a round, never by values put into them.

        x = mean + z W + e,   z ~ N(0, I),   e ~ N(0, diag(noise))
        z given a row's seen cells o:   (I + W_o noise_o⁻¹ W_oᵀ)⁻¹ W_o noise_o⁻¹ (x_o - mean_o)

    Args:
        rank: Hidden coordinates k, fewer than rows and no more than columns.
        tol: Rounds end when the mean log-likelihood of a row grows by less.
        max_iter: Rounds at most.

    Attributes:
        components_: W (k, d), most informative first; the largest loading of each is positive.
        noise_variance_: Of each column (d,).
        mean_: Of each column (d,).
        loglike_: Mean log-likelihood of a row's seen cells at the end.
        n_iter_: Rounds.

    Raises:
        BadInput: `rank` that the table is too small for, or a row or column without any value.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> table = rng.normal(size=(60, 1)) * [3.0, -2, 1, 2] + 0.1 * rng.normal(size=(60, 4))
        >>> hidden = table[5, 1]
        >>> table[5, 1] = np.nan
        >>> bool(abs(FactorAnalysis().fit(table).complete(table)[5, 1] - hidden) < 0.3)
        True

    Source: Rubin & Thayer 1982; for missing cells Little & Rubin 2002, Statistical Analysis with Missing Data, chapter 11.
    Differs: no rotation; the order and signs are fixed, so that a fit can be compared with another.
    Limits: linear and Gaussian; what is missing must not depend on the value that is missing. The likelihood has local
        maxima where many cells are missing, and a column whose noise falls to nothing (a Heywood case) stays at a millionth
        of its variance.
    """

    components_: np.ndarray
    noise_variance_: np.ndarray
    mean_: np.ndarray

    def __init__(self, *, rank: int = 1, tol: float = 1e-5, max_iter: int = 1000) -> None:
        self.rank, self.tol, self.max_iter = rank, tol, max_iter

    def fit(self, X: Any, y: Any = None) -> "FactorAnalysis":
        """Fit on a table X (n, d); NaN is a cell that was not seen."""
        rows = self._rows(X, reset=True)
        seen = ~np.isnan(rows)
        _check(rows, seen, self.rank)
        with warnings.catch_warnings():
            if not seen.all():  # then it is only where EM starts
                warnings.simplefilter("ignore", ConvergenceWarning)
            self._start(np.where(seen, rows, np.nanmean(rows, axis=0)))
        if not seen.all():
            self._refine(rows, seen, _FLOOR * np.nanvar(rows, axis=0))
        self._settle()
        self.loglike_ = float(self.score(X))
        return self

    def transform(self, X: Any) -> Rows:
        """Mean of the hidden coordinates given each row's seen cells, (n, d) -> (n, k)."""
        check_is_fitted(self)
        rows = self._rows(X)
        return _posterior(rows, ~np.isnan(rows), self.components_, self.noise_variance_, self.mean_)[0]

    def inverse_transform(self, X: Any) -> Rows:
        """The table that hidden coordinates predict, (n, k) -> (n, d)."""
        check_is_fitted(self)
        return np.asarray(X, dtype=np.float64) @ self.components_ + self.mean_

    def complete(self, X: Any) -> Rows:
        """The table with its missing cells predicted from the others of their rows; what was seen stays."""
        rows = self._rows(X)
        return np.where(np.isnan(rows), self.inverse_transform(self.transform(X)), rows)

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """Log-likelihood of each row's seen cells."""
        check_is_fitted(self)
        rows = self._rows(X)
        return _posterior(rows, ~np.isnan(rows), self.components_, self.noise_variance_, self.mean_)[2]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _rows(self, X: Any, *, reset: bool = False) -> Rows:
        kept = validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )  # fmt: skip
        return np.asarray(kept, dtype=np.float64)

    def _start(self, whole: Rows) -> None:
        """scikit-learn's fit, on the column's mean where a cell is missing; columns of one size, or the largest is a factor."""
        from sklearn.decomposition import FactorAnalysis as Plain

        size = whole.std(0)
        size[size == 0] = 1.0
        exact = min(whole.shape) <= 500
        plain: Any = Plain(self.rank, tol=self.tol * len(whole), max_iter=self.max_iter, random_state=0,
                           svd_method="lapack" if exact else "randomized")  # fmt: skip
        plain.fit((whole - whole.mean(0)) / size)
        self.components_, self.mean_ = plain.components_ * size, whole.mean(0)
        self.noise_variance_ = np.maximum(plain.noise_variance_, _FLOOR) * size**2
        self.n_iter_ = int(plain.n_iter_)

    def _refine(self, rows: Rows, seen: Bool[np.ndarray, "n d"], floor: Float[np.ndarray, " d"]) -> None:
        """EM: posterior of each row, then each column's regression of its seen cells on it."""
        filled, k = np.where(seen, rows, 0.0), len(self.components_)
        counts, before = seen.sum(0), -np.inf
        for round_ in range(1, self.max_iter + 1):
            z, spread, likelihood = _posterior(rows, seen, self.components_, self.noise_variance_, self.mean_)
            now = float(likelihood.mean())
            self.n_iter_ = round_
            if now - before < self.tol:
                break
            before = now
            ones = np.concatenate([z, np.ones((len(z), 1))], axis=1)  # the mean is the loading of a constant
            second = ones[:, :, None] * ones[:, None, :]
            second[:, :k, :k] += spread
            moments = (seen.T.astype(float) @ second.reshape(len(z), -1)).reshape(-1, k + 1, k + 1)
            cross = filled.T @ ones
            loadings = np.linalg.solve(moments + 1e-12 * np.eye(k + 1), cross[:, :, None])[:, :, 0]
            left = (filled**2).sum(0) - (loadings * cross).sum(1)
            self.components_, self.mean_ = loadings[:, :k].T.copy(), loadings[:, k].copy()
            self.noise_variance_ = np.maximum(left / counts, floor + np.finfo(float).tiny ** 0.5)
        else:
            warnings.warn(
                f"EM did not settle in {self.max_iter} rounds; raise max_iter", ConvergenceWarning, stacklevel=3
            )

    def _settle(self) -> None:
        """Turn the coordinates to the one frame in which W noise⁻¹ Wᵀ is diagonal and falls; fix the signs."""
        size = np.sqrt(self.noise_variance_)
        _, values, axes = np.linalg.svd(self.components_ / size, full_matrices=False)
        turned = values[:, None] * axes * size
        strongest = turned[np.arange(len(turned)), np.abs(turned).argmax(1)]
        self.components_ = turned * np.where(strongest < 0, -1.0, 1.0)[:, None]


def _posterior(
    rows: Rows, seen: Bool[np.ndarray, "n d"], w: Float[np.ndarray, "k d"], noise: Float[np.ndarray, " d"],
    mean: Float[np.ndarray, " d"],
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k k"], Float[np.ndarray, " n"]]:  # fmt: skip
    """Mean and covariance of each row's hidden coordinates, and the log-likelihood of its seen cells."""
    k, mask = len(w), seen.astype(float)
    away = np.where(seen, rows - mean, 0.0)
    weighed = w / noise
    precision = np.eye(k) + (mask @ (weighed[:, None] * w[None]).reshape(k * k, -1).T).reshape(-1, k, k)
    pull = away @ weighed.T
    spread = np.linalg.inv(precision)
    z = (spread @ pull[:, :, None])[:, :, 0]
    squares = (away**2) @ (1 / noise) - (pull * z).sum(1)
    volume = mask @ np.log(2 * np.pi * noise) + np.linalg.slogdet(precision)[1]
    return z, spread, -(squares + volume) / 2


def _check(rows: Rows, seen: Bool[np.ndarray, "n d"], rank: int) -> None:
    n, d = rows.shape
    if not 1 <= rank <= d or rank >= n:
        raise BadInput(
            f"rank={rank} of a table with n_samples={n} and n_features={d}; a rank from 1 to {max(1, min(n - 1, d))} is needed"
        )
    for axis, word in ((1, "row"), (0, "column")):
        if (empty := np.flatnonzero(~seen.any(axis=axis))).size:
            raise BadInput(f"{word} {empty[0]} has no value at all. Leave it out")
