"""What is conjugate about it; its answers are checked beside those of `fista`."""

import numpy as np
import pytest

from despur.solve import L1, GroupNorm, NuclearNorm, TotalVariation, fista, prox_ncg


def test_without_a_penalty_a_quadratic_takes_as_many_steps_as_it_has_unknowns(regression):
    loss, _ = regression(condition=100.0, n=30, d=12)
    found = prox_ncg(loss, L1(0.0), np.zeros(12), tolerance=1e-9)
    np.testing.assert_allclose(found.x, np.linalg.lstsq(loss.matrix, loss.target)[0], atol=1e-7)
    plain = fista(loss, L1(0.0), np.zeros(12), momentum=False, tolerance=1e-9)
    assert found.iterations <= 2 * 12 < plain.iterations


@pytest.mark.parametrize(
    "penalty",
    [L1(1e-3), GroupNorm(1e-3, np.arange(40).reshape(8, 5)), TotalVariation(1e-3)],
    ids=lambda p: type(p).__name__,
)
def test_it_needs_fewer_iterations_than_fista_and_gives_its_answer(regression, penalty):
    loss, _ = regression(condition=1e4)
    ours, theirs = (s(loss, penalty, np.zeros(40), max_iterations=20000, tolerance=1e-9) for s in (prox_ncg, fista))
    assert ours.error <= 1e-9 >= theirs.error
    assert ours.iterations < theirs.iterations
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-4)
    assert ours.value == pytest.approx(theirs.value, rel=1e-6)


def test_of_matrices(regression):
    loss, _ = regression(columns=(4,))
    ours, theirs = (s(loss, NuclearNorm(0.4), np.zeros((40, 4)), tolerance=1e-9) for s in (prox_ncg, fista))
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-6)
    assert np.linalg.matrix_rank(ours.x, tol=1e-9) < 4


def test_the_value_never_rises(regression):
    loss, _ = regression(condition=1e5)
    values = [prox_ncg(loss, L1(1e-4), np.zeros(40), max_iterations=n, tolerance=0.0).value for n in range(1, 60, 3)]
    assert np.diff(values).max() <= 1e-12
