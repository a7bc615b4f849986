"""The exact fit against a quadratic programme that knows nothing of it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import lsq_linear

from despur.core.errors import BadInput, ShapeMismatch
from despur.solve import TotalVariation, fused, soft

LINES = hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(-5, 5, width=16))


def by_programme(y, bounds):
    """Its dual: least |y - D^T u| with |u| <= bounds, as a bounded least-squares problem; of a pair that is parted u is 0."""
    d, bounds = np.diff(np.eye(len(y)), axis=0)[bounds > 0], bounds[bounds > 0]
    if not len(d):
        return y
    u = lsq_linear(d.T, y, bounds=(-bounds, bounds), method="bvls", tol=1e-14).x
    return y - d.T @ u


@settings(max_examples=150, deadline=None)
@given(LINES, st.floats(0, 4), st.integers(0, 99))
@example(np.array([0.0, 5.0, 5.0, 5.0, 0.0]), 0.125, 65)
def test_as_the_dual_programme(y, strength, seed):
    rng = np.random.default_rng(seed)
    weights = rng.choice([0.0, 0.3, 1.0, 2.0], size=len(y) - 1)
    x = fused(y, strength, weights)
    if len(y) > 1:
        np.testing.assert_allclose(x, by_programme(y, strength * weights), atol=1e-6)
    penalty = TotalVariation(strength, weights)
    value = penalty.value(x) + ((x - y) ** 2).sum() / 2
    for _ in range(20):  # nor is any neighbour better
        z = x + rng.normal(size=len(y)) * 10 ** rng.uniform(-4, 0)
        assert value <= penalty.value(z) + ((z - y) ** 2).sum() / 2 + 1e-12


def test_thresholding_the_differences_is_no_substitute():
    y = np.random.default_rng(0).normal(size=30)
    naive = y[0] + np.concatenate([[0], np.cumsum(soft(np.diff(y), 1.0))])
    naive += y.mean() - naive.mean()
    penalty = TotalVariation(1.0)
    values = [penalty.value(x) + ((x - y) ** 2).sum() / 2 for x in (fused(y, 1.0), naive)]
    assert values[0] < values[1] - 1


def test_steps_in_noise_come_back_and_a_huge_strength_leaves_the_mean():
    rng = np.random.default_rng(0)
    truth = np.repeat([0.0, 4.0, -2.0], 100)
    y = truth + rng.normal(size=300)
    x = fused(y, 8.0)
    assert (np.diff(x) != 0).sum() <= 10
    assert np.abs(x - truth).mean() < 0.25 < np.abs(y - truth).mean()
    np.testing.assert_allclose(fused(y, 1e6), y.mean(), atol=1e-9)
    np.testing.assert_array_equal(fused(y, 0.0), y)


def test_lines_along_any_axis_are_fitted_one_by_one():
    v = np.random.default_rng(1).normal(size=(3, 5, 2))
    x = fused(v, 0.5, axis=1)
    for i in range(3):
        for j in range(2):
            np.testing.assert_allclose(x[i, :, j], fused(v[i, :, j], 0.5))
    assert fused(v.astype(np.float32), 0.5).dtype == np.float32


def test_a_line_of_a_hundred_thousand_values_is_exact():
    y = np.cumsum(np.random.default_rng(2).normal(size=100_000))
    x = fused(y, 50.0)
    u = np.cumsum(y - x)[:-1]  # the multipliers: within the strength, and at it wherever x moves
    assert np.abs(u).max() <= 50 + 1e-6
    steps = np.diff(x)
    np.testing.assert_allclose(u[np.abs(steps) > 1e-9], -50 * np.sign(steps[np.abs(steps) > 1e-9]), atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeMismatch, match="3 neighbours in a line have 2 pairs"):
        fused([1.0, 2.0, 3.0], 1.0, [1.0])
    with pytest.raises(ShapeMismatch, match="no axis 1"):
        fused([1.0, 2.0], 1.0, axis=1)
    with pytest.raises(BadInput, match="strength is -1"):
        fused([1.0, 2.0], -1.0)
