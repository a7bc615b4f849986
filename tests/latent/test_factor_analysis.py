"""FactorAnalysis: scikit-learn's fit on a whole table; with holes, EM over what was seen, and a permuted table tells nothing."""

import itertools

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.decomposition import FactorAnalysis as Plain

from despur.core.errors import BadInput
from despur.find import from_estimator
from despur.latent import FactorAnalysis
from despur.latent.factor_analysis import _posterior

RANK, SHAPE = 2, (300, 12)


NOISE = np.linspace(0.2, 1.5, SHAPE[1])


def drawn(seed: int = 0, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A table of rank 2 with noise of each column's own, the same with holes, and its loadings."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(RANK, SHAPE[1]))
    table = 3 + rng.normal(size=(SHAPE[0], RANK)) @ loadings + NOISE * rng.normal(size=SHAPE)
    return table, np.where(rng.random(SHAPE) < missing, np.nan, table), loadings


def angle(one: np.ndarray, two: np.ndarray) -> float:
    """Smallest cosine between two row spaces."""
    a, b = (np.linalg.qr(w.T)[0] for w in (one, two))
    return float(np.linalg.svd(a.T @ b)[1].min())


def missed(table: np.ndarray, holes: np.ndarray, told: np.ndarray) -> float:
    at = np.isnan(holes)
    return float(np.sqrt(((told - table)[at] ** 2).mean()))


def test_a_whole_table_is_fitted_as_scikit_learn_does():
    table, _, loadings = drawn()
    ours, plain = (
        FactorAnalysis(rank=RANK, tol=1e-9).fit(table),
        Plain(RANK, tol=1e-8, max_iter=9999, svd_method="lapack").fit(table),
    )
    assert ours.loglike_ == pytest.approx(plain.score(table), abs=1e-5)
    assert ours.components_.T @ ours.components_ == pytest.approx(plain.components_.T @ plain.components_, abs=1e-3)
    assert angle(ours.components_, loadings) > 0.98


def test_em_on_a_table_without_holes_stays_at_the_maximum_likelihood():
    table, *_ = drawn()
    plain = FactorAnalysis(rank=RANK, tol=1e-9).fit(table)
    again = FactorAnalysis(rank=RANK, tol=1e-9)
    again._start(table)
    again.components_ = np.random.default_rng(1).normal(size=again.components_.shape)  # far from it
    again._refine(table, np.ones(table.shape, dtype=bool), np.zeros(SHAPE[1]))
    end = _posterior(table, np.ones(table.shape, dtype=bool), again.components_, again.noise_variance_, again.mean_)[2]
    assert end.mean() == pytest.approx(plain.loglike_, abs=1e-4)


def test_hidden_cells_are_predicted_and_a_permuted_table_predicts_nothing():
    table, holes, loadings = drawn(missing=0.3)
    fitted = FactorAnalysis(rank=RANK).fit(holes)
    by_mean = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    filled_first = FactorAnalysis(rank=RANK).fit(by_mean)  # what others do with holes
    truth = FactorAnalysis(rank=RANK).fit(holes)
    truth.components_, truth.noise_variance_, truth.mean_ = loadings, NOISE**2, np.full(SHAPE[1], 3.0)
    assert missed(table, holes, fitted.complete(holes)) < 1.02 * missed(table, holes, truth.complete(holes))
    assert missed(table, holes, fitted.complete(holes)) < 0.8 * missed(table, holes, by_mean)
    assert angle(fitted.components_, loadings) > 0.95
    off, off_filled = (np.abs(f.noise_variance_ / NOISE**2 - 1).mean() for f in (fitted, filled_first))
    assert off < 0.5 * off_filled
    rng = np.random.default_rng(2)
    permuted = np.stack([rng.permutation(column) for column in table.T], axis=1)
    gone = np.where(np.isnan(holes), np.nan, permuted)
    told = FactorAnalysis(rank=RANK).fit(gone).complete(gone)
    assert missed(permuted, gone, told) > 0.97 * missed(
        permuted, gone, np.where(np.isnan(gone), np.nanmean(gone, axis=0), gone)
    )


@pytest.mark.filterwarnings("ignore:EM did not settle")  # it is stopped early on purpose
def test_em_never_lowers_the_likelihood_and_what_was_seen_stays():
    _, holes, _ = drawn(missing=0.4)
    ends = [FactorAnalysis(rank=RANK, tol=0.0, max_iter=rounds).fit(holes).loglike_ for rounds in (1, 3, 9, 27, 81)]
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(ends))
    told = FactorAnalysis(rank=RANK).fit(holes).complete(holes)
    assert np.array_equal(told[~np.isnan(holes)], holes[~np.isnan(holes)])
    assert np.isfinite(told).all()


def test_noise_of_a_columns_own_is_no_signal_where_principal_components_take_it_for_one():
    table, _, loadings = drawn()
    table[:, 0] += 20 * np.random.default_rng(5).normal(size=len(table))
    assert angle(FactorAnalysis(rank=RANK).fit(table).components_[:, 1:], loadings[:, 1:]) > 0.95
    assert angle(PCA(RANK).fit(table).components_[:, 1:], loadings[:, 1:]) < 0.9


def test_a_guard_can_take_what_it_found():
    table, *_ = drawn()
    factor = from_estimator(FactorAnalysis(rank=RANK).fit(table))
    assert (factor.rank, factor.width) == (RANK, SHAPE[1])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda t: np.where(np.arange(12) == 4, np.nan, t), "column 4 has no value at all"),
        (lambda t: np.where(np.arange(300)[:, None] == 7, np.nan, t), "row 7 has no value at all"),
        (lambda t: t[:2], r"rank=2 of a table with n_samples=2.*a rank from 1 to 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(spoil, says):
    with pytest.raises(BadInput, match=says):
        FactorAnalysis(rank=RANK).fit(spoil(drawn()[0]))
