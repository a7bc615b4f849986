"""The gap bounds what it says it bounds, at any point; and what does not fit is refused."""

import numpy as np
import pytest
import scipy.sparse

from despur.core.errors import BadInput, ShapeMismatch
from despur.solve import (
    CEL0,
    L1,
    GroupNorm,
    LeastSquares,
    NuclearNorm,
    Penalty,
    Simplex,
    TotalVariation,
    fista,
    least_squares,
)

PENALTIES = {
    "l1": L1(0.05),
    "l1 with free ones": L1(0.05, [0.0, 0.0] + [1.0] * 38),
    "no penalty": L1(0.0),
    "groups": GroupNorm(0.05, [[0, 1, 2], [5, 9], [20, 21, 30]]),
    "total variation": TotalVariation(0.05),
    "total variation in parts": TotalVariation(0.05, [1.0] * 20 + [0.0] + [2.0] * 18),
    "simplex": Simplex(3.0),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_the_gap_bounds_the_distance_from_the_least_value_and_closes(regression, name):
    loss, _ = regression()
    penalty, rng = PENALTIES[name], np.random.default_rng(0)
    best = fista(loss, penalty, np.zeros(40), tolerance=1e-11, max_iterations=20000)
    assert loss.gap(best.x, penalty).value < 1e-7 * max(best.value, 1)
    for size in (1e-3, 1e-1, 1.0):
        x = best.x + size * rng.normal(size=40)
        if name == "simplex":
            x = penalty.prox(x, 1.0)
        above = loss.value(x) + penalty.value(x) - best.value
        assert above <= loss.gap(x, penalty).value * (1 + 1e-9) + 1e-9
        assert above > 1e-9, "the control: these points are worse, and a bound of 0 would be wrong"


def test_the_gap_of_matrices(regression):
    loss, _ = regression(columns=(3,))
    for penalty in (
        NuclearNorm(0.1),
        GroupNorm(0.05, [[i] for i in range(38)]),
        TotalVariation(0.05),
        TotalVariation(0.05, axis=0),
    ):
        found = least_squares(loss.matrix, loss.target, penalty, tolerance=1e-10)
        assert found.certificate.value < 1e-6
        assert loss.gap(found.x + 0.01, penalty).value > 1e-3


def test_where_no_gap_is_known_the_reason_is_given(regression):
    loss, _ = regression()

    class Own(Penalty):
        def value(self, x):
            return 0.0

        def prox(self, v, step):
            return v

    assert loss.gap(np.zeros(40), CEL0(1.0)).reason.startswith("CEL0 is not convex")
    assert loss.gap(np.zeros(40), Own()).reason == "no conjugate of Own is known"
    assert loss.gap(np.full(40, -1.0), Simplex()).value == np.inf


def test_sparse_matrices_give_the_same(regression):
    loss, _ = regression()
    matrix = np.where(np.abs(loss.matrix) > 0.05, loss.matrix, 0)
    dense = least_squares(matrix, loss.target, L1(0.05))
    for form in ("csr", "csc", "coo", "lil"):
        found = least_squares(scipy.sparse.coo_array(matrix).asformat(form), loss.target, L1(0.05))
        np.testing.assert_allclose(found.x, dense.x, atol=1e-8)


def test_the_gradient_is_that_of_the_value(regression):
    loss, _ = regression(columns=(2,))
    rng = np.random.default_rng(0)
    x, way = rng.normal(size=(2, 40, 2))
    slope = (loss.value(x + 1e-5 * way) - loss.value(x - 1e-5 * way)) / 2e-5
    assert np.vdot(loss(x)[1], way) == pytest.approx(slope, rel=1e-7)
    v = rng.normal(size=(40, 2))
    there = loss.prox(v, 0.7)
    np.testing.assert_allclose(0.7 * loss(there)[1] + there - v, 0, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: LeastSquares(np.full((2, 2), np.nan), np.ones(2)), BadInput, "matrix has 4 of 4 values that are NaN or Inf"),
        (lambda: LeastSquares(scipy.sparse.csr_array([[np.inf, 0.0]]), np.ones(1)), BadInput, "matrix has 1 of 1 values"),
        (lambda: LeastSquares(np.eye(2), [1.0, np.inf]), BadInput, "target has 1 of 2 values"),
        (lambda: LeastSquares(np.eye(2), np.ones(3)), ShapeMismatch, r"matrix has 2 rows and target the shape \(3,\)"),
        (lambda: LeastSquares(np.ones(2), np.ones(2)), ShapeMismatch, r"matrix has shape \(2,\); it needs 2 axes"),
        (lambda: LeastSquares(np.eye(2), np.ones(2), inside=np.eye(3)), ShapeMismatch, "of 2 unknowns and inside of 3"),
        (lambda: LeastSquares([["a"]], [1.0]), BadInput, "matrix has dtype <U1; pass real numbers"),
        (lambda: LeastSquares([[1.0, 2.0], [3.0]], [1.0, 2.0]), BadInput, "rows of different lengths"),
        (lambda: least_squares(np.eye(2), np.ones(2), L1(1.0), x0=np.zeros(3)), ShapeMismatch, r"x has shape \(3,\)"),
        (lambda: least_squares(np.eye(2), np.ones(2), L1(1.0, np.ones(3))), ShapeMismatch, r"weights has shape \(3,\) and x \(2,\)"),
        (lambda: L1(-1.0), BadInput, "strength is -1.0; it must be a number of at least 0"),
        (lambda: L1(float("nan")), BadInput, "strength is nan"),
        (lambda: L1(1.0, [-1.0]), BadInput, "weights is -1; it must be 0 or more"),
        (lambda: GroupNorm(1.0, [[0, 1], [1, 2]]), BadInput, "group 1 has a coordinate twice or shares one with another"),
        (lambda: GroupNorm(1.0, [[0, 0]]), BadInput, "groups must not overlap"),
        (lambda: GroupNorm(1.0, [[]]), BadInput, "group 0 must be a list of at least one index"),
        (lambda: GroupNorm(1.0, [[0], [-1]]), BadInput, "group 1 must be a list"),
        (lambda: GroupNorm(1.0, [[0]], [1.0, 2.0]), ShapeMismatch, "there are 1 groups"),
        (lambda: GroupNorm(1.0, [[0, 7]]).value(np.zeros(3)), BadInput, "index 7, outside its rows"),
        (lambda: TotalVariation(1.0, axis=2).value(np.zeros(3)), ShapeMismatch, "no axis 2"),
        (lambda: NuclearNorm(1.0).prox(np.zeros(3), 1.0), ShapeMismatch, "needs 2 axes"),
        (lambda: Simplex(0.0), BadInput, "radius is 0.0; it must be a number above 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_sentence(call, kind, words):
    with pytest.raises(kind, match=words) as error:
        call()
    assert "\n" not in str(error.value)
