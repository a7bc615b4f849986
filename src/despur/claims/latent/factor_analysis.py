"""The claim of `factor-analysis`."""

import numpy as np

from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.latent import FactorAnalysis

ROWS, COLUMNS, RANK, MISSING = 200, 10, 2, 0.3
LOUD = 12.0  # size of the noise of one column, the largest of all


@claim(
    method="factor-analysis",
    says="cells that are missing from a table of rank two are predicted from the others of their rows, nearly as well as the planted "
    "loadings and noise do, and a column of loud noise is not taken for a coordinate",
    control="the same on the table with each column permuted; principal components of the whole table for the loud column",
    margin=0.2,
)
def factor_analysis(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Explained share of missing cells, and angle to the planted loadings; over forty tables with `whole`."""
    draws = np.array([_draw(draw) for draw in range(seed, seed + (40 if whole else 12))])
    (explained, permuted, best), (ours, components) = draws[:, :3].T, draws[:, 3:].T
    low, high = np.quantile(explained, [0.025, 0.975])
    least, most = np.quantile(ours, [0.025, 0.975])
    return (
        compared("explained share of missing cells", explained.mean(), control=permuted.mean(), low=low, high=high, n=len(explained),
                 bound=0.9 * best.mean(), of_planted=float(best.mean()), control_is="each column permuted"),
        compared("smallest cosine with the planted loadings", ours.mean(), control=components.mean(), low=least, high=most,
                 n=len(ours), bound=0.95, margin=0.1, unit="cosine", control_is="principal components"),
    )  # fmt: skip


def _draw(seed: int) -> tuple[float, float, float, float, float]:
    rng = np.random.default_rng(seed)
    loadings, noise = rng.normal(size=(RANK, COLUMNS)), np.linspace(0.2, 1.0, COLUMNS)
    table = rng.normal(size=(ROWS, RANK)) @ loadings + noise * rng.normal(size=(ROWS, COLUMNS))
    hide = rng.random(table.shape) < MISSING
    hide[hide.all(1), 0] = False
    permuted = np.stack([rng.permutation(column) for column in table.T], axis=1)
    fitted = FactorAnalysis(rank=RANK).fit(np.where(hide, np.nan, table))
    truth = FactorAnalysis(rank=RANK).fit(table)
    truth.components_, truth.noise_variance_, truth.mean_ = loadings, noise**2, np.zeros(COLUMNS)
    other = FactorAnalysis(rank=RANK).fit(np.where(hide, np.nan, permuted))
    loud = table + np.eye(COLUMNS)[0] * LOUD * rng.normal(size=(ROWS, 1))
    quiet = FactorAnalysis(rank=RANK).fit(loud).components_[:, 1:]
    leading = np.linalg.svd(loud - loud.mean(0), full_matrices=False)[2][:RANK, 1:]
    return (
        _explained(fitted, table, hide), _explained(other, permuted, hide), _explained(truth, table, hide),
        _cosine(quiet, loadings[:, 1:]), _cosine(leading, loadings[:, 1:]),
    )  # fmt: skip


def _explained(fitted: FactorAnalysis, table: np.ndarray, hide: np.ndarray) -> float:
    """One less the squared error of hidden cells over their squares about the columns' means."""
    holes = np.where(hide, np.nan, table)
    error, square = (
        ((explained - table)[hide] ** 2).sum() for explained in (fitted.complete(holes), np.nanmean(holes, axis=0))
    )
    return float(1 - error / square)


def _cosine(one: np.ndarray, two: np.ndarray) -> float:
    """Smallest cosine between two row spaces."""
    a, b = (np.linalg.qr(w.T)[0] for w in (one, two))
    return float(np.linalg.svd(a.T @ b)[1].min())
