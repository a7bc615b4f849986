"""Every proximal operator against the minimum that it claims, and against operators that are not it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from despur.solve import (  # isort: skip
    CEL0, L0, L1, LQ, GroupNorm, NuclearNorm, Simplex, TotalVariation, cel0, half, hard, lq, nuclear, simplex, soft,
)  # fmt: skip

NEAR = st.floats(-10, 10, allow_nan=False, width=32)
PRICE = st.floats(0, 5, allow_nan=False)
SCALAR = {
    "soft": (soft, lambda x, s: s * np.abs(x)),
    "hard": (hard, lambda x, s: s * (x != 0)),
    "half": (half, lambda x, s: s * np.sqrt(np.abs(x))),
    "lq .2": (lambda v, s: lq(v, s, 0.2), lambda x, s: s * np.abs(x) ** 0.2),
    "lq .9": (lambda v, s: lq(v, s, 0.9), lambda x, s: s * np.abs(x) ** 0.9),
    "cel0 firm": (lambda v, s: cel0(v, s, 0.7, step=1.0), lambda x, s: cel(x, s, 0.7)),
    "cel0 hard": (lambda v, s: cel0(v, s, 1.5, step=1.0), lambda x, s: cel(x, s, 1.5)),
}  # fmt: skip


def cel(x, s, a):
    """The paper's formula, with an indicator."""
    bend = np.sqrt(2 * s) / a
    return s - a**2 / 2 * (np.abs(x) - bend) ** 2 * (np.abs(x) <= bend)


def least(v, penalty, strength):
    """Least value on a fine grid that holds 0 and v."""
    grid = np.unique(np.concatenate([np.linspace(-1.1, 1.1, 4001) * abs(v), [0.0, v]]))
    return float((penalty(grid, strength) + (grid - v) ** 2 / 2).min())


@pytest.mark.parametrize("name", SCALAR)
@settings(max_examples=60, deadline=None)
@given(v=NEAR, strength=PRICE)
def test_no_point_of_a_grid_is_better(name, v, strength):
    operator, penalty = SCALAR[name]
    x = operator(np.array([v]), strength)
    value = float(penalty(x, strength).sum() + ((x - v) ** 2).sum() / 2)
    assert value <= least(v, penalty, strength) + 1e-9


@pytest.mark.parametrize("name", [n for n in SCALAR if n != "soft"])
def test_soft_thresholding_is_not_that_operator(name):
    _, penalty = SCALAR[name]
    v, worse = np.linspace(0.2, 6, 30), 0
    for one in v:
        x = soft(np.array([one]), 1.0)
        worse += float(penalty(x, 1.0).sum() + ((x - one) ** 2).sum() / 2) > least(one, penalty, 1.0) + 1e-3
    assert worse > 5


def test_the_closed_form_of_the_square_root_is_what_newton_finds_over_twelve_orders_of_size():
    rng = np.random.default_rng(0)
    v, s = rng.normal(size=3000) * 10 ** rng.uniform(-6, 6, 3000), 10 ** rng.uniform(-8, 8, 3000)
    np.testing.assert_allclose(half(v, s), lq(v, s, 0.5), rtol=1e-12, atol=0)
    assert 0.3 < (half(v, s) != 0).mean() < 0.7


def test_towards_its_ends_the_power_is_hard_and_soft_thresholding():
    v = np.linspace(-3, 3, 101)
    np.testing.assert_allclose(lq(v, 0.7, 1e-7), hard(v, 0.7), atol=1e-5)
    np.testing.assert_allclose(lq(v, 0.7, 1 - 1e-9), soft(v, 0.7), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64]), hnp.array_shapes(max_dims=3, min_side=0), elements=st.integers(-9, 9))
)  # fmt: skip
def test_shape_stays_and_float32_stays_float32(v):
    for operator in (
        lambda x: soft(x, 1.0),
        lambda x: hard(x, 1.0),
        lambda x: half(x, 1.0),
        lambda x: lq(x, 1.0, 0.3),
        lambda x: cel0(x, 1.0),
    ):
        x = operator(v)
        assert x.shape == v.shape
        assert x.dtype == (np.float32 if v.dtype == np.float32 else np.float64)
        assert (np.abs(x) <= np.abs(v) + 1e-6).all()
        assert not np.signbit(x[x == 0]).any()


def test_a_strength_for_each_coordinate():
    v = np.array([1.0, 1.0, 3.0])
    np.testing.assert_array_equal(soft(v, [0.0, 2.0, 1.0]), [1, 0, 2])
    np.testing.assert_array_equal(hard(v, [0.0, 2.0, 1.0]), [1, 0, 3])


NORMS = {
    "l1": (L1(0.7), (7,)),
    "l1 weights": (L1(0.7, [0, 1, 2, 0.5, 3, 1, 1]), (7,)),
    "groups": (GroupNorm(0.8, [[0, 3], [1], [5, 6]]), (7,)),
    "groups of rows": (GroupNorm(0.4, [[0, 3], [1], [2, 4]]), (5, 3)),
    "tv": (TotalVariation(0.5), (9,)),
    "tv weights": (TotalVariation(0.9, [1, 0, 2, 0.1, 1, 1, 0.5, 3]), (9,)),
    "tv columns": (TotalVariation(0.6, axis=0), (6, 3)),
    "nuclear": (NuclearNorm(1.2), (5, 3)),
}


@pytest.mark.parametrize("name", NORMS)
def test_the_rest_is_a_subgradient_and_that_of_a_longer_step_is_not(name):
    """x = prox(v, t) of a norm if and only if s = (v - x) / t has dual norm 1 at most, <s, x> = value(x), and nothing of what is free."""
    norm, shape = NORMS[name]
    rng, longer = np.random.default_rng(0), 0
    for t in (0.1, 1.0, 3.0):
        for _ in range(20):
            v = rng.normal(size=shape) * rng.choice([0.3, 3])
            x = norm.prox(v, t)
            s = (v - x) / t
            assert norm.dual(s) <= 1 + 1e-9
            assert np.vdot(s, x) == pytest.approx(norm.value(x), abs=1e-9)
            assert np.abs(norm.free(shape).reshape(-1, v.size) @ s.ravel()).max(initial=0) < 1e-9
            far = norm.prox(v, 1.5 * t)
            if norm.value(far) > 0.01:
                longer += 1
                assert norm.dual((v - far) / t) == pytest.approx(1.5)
    assert longer > 10


@pytest.mark.parametrize("name", [*NORMS, "simplex"])
def test_convex_operators_bring_no_two_points_apart(name):
    penalty, shape = NORMS.get(name, (Simplex(2.0), (6,)))
    rng = np.random.default_rng(1)
    for _ in range(50):
        v, w = rng.normal(size=(2, *shape)) * 2
        x, y = penalty.prox(v, 0.8), penalty.prox(w, 0.8)
        assert np.vdot(x - y, x - y) <= np.vdot(x - y, v - w) + 1e-12, "firmly nonexpansive"


@pytest.mark.parametrize("penalty", [L0(1.0), LQ(1.0), CEL0(1.0, 1.0)], ids=repr)
def test_operators_of_penalties_that_are_not_convex_tear_neighbours_apart(penalty):
    v = np.linspace(0, 3, 3001)[:, None]
    x = np.array([penalty.prox(one, 1.0) for one in v])
    assert np.diff(x[:, 0]).max() > 0.5


def test_norms_are_norms_and_their_free_directions_cost_nothing():
    rng = np.random.default_rng(2)
    for norm, shape in NORMS.values():
        x, y = rng.normal(size=(2, *shape))
        assert norm.value(x + y) <= norm.value(x) + norm.value(y) + 1e-12
        assert norm.value(-2 * x) == pytest.approx(2 * norm.value(x))
        assert all(norm.value(x + 7 * one) == pytest.approx(norm.value(x)) for one in norm.free(shape))


def test_singular_values_fall_by_the_strength_and_vectors_stay():
    v = np.random.default_rng(3).normal(size=(6, 4))
    (u, s, wt), x = np.linalg.svd(v, full_matrices=False), nuclear(v, 1.0)
    np.testing.assert_allclose(np.linalg.svd(x, compute_uv=False), np.maximum(s - 1, 0), atol=1e-12)
    rest = v - x  # U0 W0^T on the rank that is left, and at most 1 on what is not
    np.testing.assert_allclose((u.T @ rest @ wt.T)[s > 1][:, s > 1], np.eye((s > 1).sum()), atol=1e-12)
    assert np.linalg.norm(rest, 2) <= 1 + 1e-12
    assert np.linalg.norm(v - nuclear(v, 1.1), 2) > 1.05


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 6)), elements=NEAR), st.floats(0.01, 20))
def test_the_nearest_point_of_a_simplex(v, radius):
    x = simplex(v, radius)
    assert x.min() >= 0
    np.testing.assert_allclose(x.sum(-1), radius, rtol=1e-9)
    for row, point in zip(v, x, strict=True):  # v - x falls nowhere on a corner's side: <v - x, corner - x> <= 0
        corners = radius * np.eye(len(row))
        assert ((corners - point) @ (row - point)).max() <= 1e-7 * max(1, radius) * max(1, np.abs(row).max())


def test_the_simplex_of_large_values_loses_no_digits():
    np.testing.assert_allclose(simplex(np.array([1e9, 1e9 + 0.5, 0.0])), [0.25, 0.75, 0.0])
