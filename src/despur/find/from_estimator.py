"""A factor out of any fitted scikit-learn estimator that is linear: its components, or its probe's coefficients."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import Site, Subspace, method
from despur.core.errors import BadInput, NotFitted, ShapeMismatch

_ROUNDING = 1e-7  # of the largest singular value: less is none


@method(room="find", paper="scikit-learn, Pedregosa et al. 2011, arXiv:1201.0490")
def from_estimator(estimator: Any, *, site: Site | None = None, rank: int | None = None) -> Subspace:
    """Make a factor of a fitted scikit-learn estimator, so that guards and checks can use what it found.

    Choose it where a decomposition or a probe that is not in this catalogue has been fitted on rows of the stream. One
    with `components_` (PCA, FactorAnalysis, FastICA, NMF, TruncatedSVD) writes them; one with `coef_` (LogisticRegression,
    LinearDiscriminantAnalysis, LinearSVC, Ridge) reads them. Costs O(k² d).

        components_ W:  write = W,  read = (W Psi⁻¹ Wᵀ)⁻¹ W Psi⁻¹,  Psi the noise of each coordinate, 1 without;  centre = mean_
        mixing_ M:      write = Mᵀ, read = components_                                                   (FastICA)
        coef_ C:        read = write = an orthonormal basis of C's rows;  centre = -C⁺ intercept_

    Args:
        estimator: Fitted on rows of the stream (n, d), not on rows that were scaled before.
        site: Where those rows were taken.
        rank: Directions, the leading ones of the estimator's own order (of a probe by their weight); all of them if None.

    Returns:
        Subspace of k directions with `read @ write.T == I`; an orthogonal one where the estimator's is.

    Raises:
        NotFitted: it was not fitted.
        BadInput: it has neither `components_` nor `coef_`, does something to the rows before them, or has fewer than `rank`
            directions.
        ShapeMismatch: its directions are of another width than the rows that it was fitted on.

    Example:
        >>> from sklearn.decomposition import PCA
        >>> rows = np.random.default_rng(0).normal(size=(50, 4)) * [9, 1, 1, 1]
        >>> from_estimator(PCA(2).fit(rows)).read[0].abs().argmax().item()
        0

    Source: the estimators' own documentation; Bartlett's scores for FactorAnalysis.
    Differs: coordinates are unshrunk and unwhitened where FactorAnalysis and `PCA(whiten=True)` shrink and whiten them, and
        may be negative where NMF's may not.
    Limits: the linear part alone; a probe's directions separate classes, which does not mean that the model uses them.
    """
    kind = type(estimator).__name__
    _check_fitted(estimator, kind)
    if hasattr(estimator, "components_"):
        read, write, center = _of_components(estimator, _matrix(estimator.components_, estimator, kind))
    else:
        read, write, center = _of_probe(estimator, _matrix(estimator.coef_, estimator, kind), kind)
    k = len(read) if rank is None else rank
    if not 1 <= k <= len(read):
        raise BadInput(
            f"{kind} has {len(read)} directions, but rank={k} was requested. Take a rank from 1 to {len(read)}"
        )
    evidence = {"method": "from_estimator", "estimator": kind}
    return Subspace(_tensor(read[:k]), _tensor(write[:k]), _tensor(center), site or Site(), evidence)


Parts = tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k d"], Float[np.ndarray, " d"]]  # read, write, centre


def _of_components(estimator: Any, write: Float[np.ndarray, "k d"]) -> Parts:
    center = getattr(estimator, "mean_", None)
    center = np.zeros(write.shape[1]) if center is None else np.asarray(center, dtype=np.float64)
    if hasattr(estimator, "mixing_"):
        return write, np.asarray(estimator.mixing_, dtype=np.float64).T, center
    noise = np.asarray(getattr(estimator, "noise_variance_", 1.0))  # one for all weighs all coordinates alike
    weighed = write / noise if noise.ndim and (noise > 0).all() else write
    return np.linalg.solve(weighed @ write.T, weighed), write, center


def _of_probe(estimator: Any, rows: Float[np.ndarray, "n d"], kind: str) -> Parts:
    says = estimator.decision_function if hasattr(estimator, "decision_function") else estimator.predict
    at_zero = np.ravel(says(np.zeros((1, rows.shape[1]))))
    offset = np.broadcast_to(np.ravel(estimator.intercept_), len(rows))
    if at_zero.shape != offset.shape or not np.allclose(at_zero, offset, atol=1e-6 * (1 + np.abs(offset).max())):
        raise BadInput(
            f"{kind} does not read rows by `coef_` and `intercept_` alone, so no subspace is what it reads. Take a linear probe "
            "such as LogisticRegression, fitted on the rows as they are"
        )
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    there = int((sizes > _ROUNDING * sizes[0]).sum())
    strongest = left[
        np.abs(left).argmax(0), np.arange(len(sizes))
    ]  # its sign: a direction points where its classes' rows do
    basis = (right * np.sign(strongest)[:, None])[:there]
    return basis, basis, -np.linalg.pinv(rows) @ offset


def _check_fitted(estimator: Any, kind: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted  # takes a second to import

    try:
        check_is_fitted(estimator)
    except NotFittedError as fault:
        raise NotFitted(f"{kind} was not fitted. Call its fit on rows of the stream (n, d) first") from fault
    except TypeError as fault:
        raise BadInput(
            f"got {estimator!r}; from_estimator takes an estimator of scikit-learn. Fit one first"
        ) from fault
    if not hasattr(estimator, "components_") and not hasattr(estimator, "coef_"):
        raise BadInput(
            f"{kind} has neither `components_` nor `coef_`, and one of them is needed. Give PCA, LogisticRegression or another "
            "linear estimator itself, not a pipeline: directions of rows that were scaled are none of the stream"
        )


def _matrix(given: Any, estimator: Any, kind: str) -> Float[np.ndarray, "k d"]:
    rows = np.atleast_2d(np.asarray(given.toarray() if hasattr(given, "toarray") else given, dtype=np.float64))
    width = getattr(estimator, "n_features_in_", rows.shape[-1])
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ShapeMismatch(f"{kind} has directions {rows.shape}, and its rows have width {width}. Fit it again")
    if not np.isfinite(rows).all() or np.linalg.matrix_rank(rows) < (
        len(rows) if hasattr(estimator, "components_") else 1
    ):
        raise BadInput(f"{kind} has directions that are zero, dependent or not finite. Fit it for fewer, on other rows")
    return rows


def _tensor(part: np.ndarray) -> Tensor:
    return torch.tensor(part, dtype=torch.float32)
