"""Where it overlaps with `fista` they agree; where it alone can go, another solver agrees."""

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize

from despur.core.errors import BadInput, ShapeMismatch
from despur.solve import L1, GroupNorm, LeastSquares, NuclearNorm, Penalty, Simplex, TotalVariation, admm, fista, fused


@pytest.mark.parametrize(
    "penalty",
    [L1(0.01), GroupNorm(0.01, np.arange(40).reshape(8, 5)), TotalVariation(0.01), Simplex(2.0)],
    ids=lambda p: type(p).__name__,
)
@pytest.mark.parametrize("options", [{}, {"adapt": False}, {"relax": 1.0}, {"rho": 30.0}], ids=str)
def test_it_finds_what_fista_finds(regression, penalty, options):
    loss, _ = regression(condition=20.0)
    ours = admm(
        loss,
        penalty,
        np.zeros(40),
        tolerance=1e-9,
        certificate=lambda x: loss.gap(x, penalty),
        max_iterations=20000,
        **options,
    )
    theirs = fista(loss, penalty, np.zeros(40), tolerance=1e-10)
    np.testing.assert_allclose(ours.x, theirs.x, atol=2e-6)
    assert ours.value == pytest.approx(theirs.value, rel=1e-6)
    assert ours.error <= 1e-9
    assert ours.certificate.value < 1e-5


def test_of_matrices(regression):
    loss, _ = regression(columns=(4,))
    ours, theirs = admm(loss, NuclearNorm(0.2), np.zeros((40, 4))), fista(loss, NuclearNorm(0.2), np.zeros((40, 4)))
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-5)


@pytest.mark.parametrize("rho", [1e-3, 1e3])
def test_turning_rho_pays_where_it_was_badly_chosen(regression, rho):
    loss, _ = regression(condition=100.0)
    turned, fixed = (admm(loss, L1(0.01), np.zeros(40), rho=rho, adapt=a, max_iterations=3000) for a in (True, False))
    assert turned.error <= 1e-8
    assert turned.iterations < 500
    assert fixed.iterations > 5 * turned.iterations


@pytest.mark.parametrize("sparse", [False, True])
def test_a_penalty_behind_a_map(sparse):
    """Total variation is the l1 norm behind first differences; the exact operator knows nothing of it."""
    y = np.repeat([0.0, 3.0, 1.0], 10) + np.random.default_rng(0).normal(size=30)
    differences = scipy.sparse.diags_array([-np.ones(29), np.ones(29)], offsets=[0, 1], shape=(29, 30))
    inside = differences.tocsr() if sparse else differences.toarray()
    found = admm(LeastSquares(np.eye(30), y, inside=inside), L1(1.5), np.zeros(30), inside=inside)
    np.testing.assert_allclose(found.x, fused(y, 1.5), atol=1e-5)
    assert found.value == pytest.approx(
        LeastSquares(np.eye(30), y).value(found.x) + 1.5 * np.abs(np.diff(found.x)).sum()
    )
    without = admm(LeastSquares(np.eye(30), y), L1(1.5), np.zeros(30))
    assert np.abs(without.x - fused(y, 1.5)).max() > 0.5


class Nonnegative(Penalty):
    """A user's own: two methods."""

    def value(self, x):
        return 0.0 if x.min() >= -1e-7 else float("inf")

    def prox(self, v, step):
        return np.maximum(v, 0)


def test_several_constraints_are_a_map_of_unit_matrices_and_a_penalty_of_blocks(regression):
    """Nonnegative and on a simplex of radius 1 at once, against scipy's SLSQP; `Nonnegative` alone sums to more."""
    loss, _ = regression(n=20, d=6, condition=5.0, seed=2)

    class Both(Penalty):
        def value(self, x):
            return 0.0

        def prox(self, v, step):
            upper = v[6:] - max(0.0, (v[6:].sum() - 0.5) / 6)  # sum at most .5
            return np.concatenate([np.maximum(v[:6], 0), upper])

    twice = np.vstack([np.eye(6), np.eye(6)])
    found = admm(
        LeastSquares(loss.matrix, loss.target + 0.3, inside=twice), Both(), np.zeros(6), inside=twice, tolerance=1e-9
    )
    shifted = LeastSquares(loss.matrix, loss.target + 0.3)
    theirs = minimize(
        lambda x: shifted.value(x), np.full(6, 0.05), jac=lambda x: shifted(x)[1], method="SLSQP", bounds=[(0, None)] * 6,
        constraints={"type": "ineq", "fun": lambda x: 0.5 - x.sum()}, options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(found.x, theirs.x, atol=1e-5)
    assert fista(shifted, Nonnegative(), np.zeros(6)).x.sum() > 0.6


def test_what_does_not_fit_is_refused():
    loss = LeastSquares(np.eye(3), np.ones(3))
    with pytest.raises(BadInput, match="relax is 2.5; it must lie above 0 and below 2"):
        admm(loss, L1(1.0), np.zeros(3), relax=2.5)
    with pytest.raises(BadInput, match="rho is 0.0; it must be a number above 0"):
        admm(loss, L1(1.0), np.zeros(3), rho=0.0)
    with pytest.raises(ShapeMismatch, match=r"inside is of 2 unknowns and x0 has shape \(3,\)"):
        admm(loss, L1(1.0), np.zeros(3), inside=np.eye(2))
    with pytest.raises(BadInput, match="x0 has 1 of 3 values"):
        admm(loss, L1(1.0), np.array([0.0, np.inf, 0.0]))
    flat = LeastSquares(np.zeros((1, 2)), np.ones(1), inside=np.array([[1.0, -1.0]]))
    with pytest.raises(BadInput, match="leave a direction of x undetermined"):
        admm(flat, L1(1.0), np.zeros(2), inside=np.array([[1.0, -1.0]]))
