"""SharedDirections: what was planted is found, and nothing is found where groups share nothing."""

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.find import SharedDirections
from despur.judge import rate_interval


def modules(rng: np.random.Generator, *, n: int = 8, r: int = 3, d: int = 24, planted: np.ndarray | None = None):
    """Rows of n modules with r random directions of falling size; each also writes along `planted`."""
    rows = rng.normal(size=(n, r, d)) * np.array([1.0, 0.6, 0.3])[:, None]
    if planted is not None:
        rows[:, 0] += 6 * planted * rng.choice([-1, 1], size=(n, 1))
    return rows.reshape(n * r, d), np.repeat(np.arange(n), r)


def test_a_direction_that_modules_share_is_found():
    rng = np.random.default_rng(0)
    planted = rng.normal(size=24)
    planted /= np.linalg.norm(planted)
    rows, groups = modules(rng, planted=planted)
    finder = SharedDirections(nulls=40).fit(rows, groups=groups)
    assert finder.found_ == 1
    assert abs(finder.factors_[0].read[0].numpy() @ planted) > 0.93
    assert finder.agreement_[0] > 2 * finder.threshold_ > 2 * finder.agreement_[1]
    evidence = finder.factors_[0].evidence
    assert evidence["p"] == pytest.approx(1 / 41)
    assert evidence["control"] == finder.threshold_


def test_one_loud_module_is_no_agreement():
    rng = np.random.default_rng(1)
    rows, groups = modules(rng)
    rows[0] *= 1000
    loud = SharedDirections(nulls=40).fit(rows, groups=groups)
    assert loud.found_ == 0
    rows[groups == 0] *= 1e-6
    assert np.allclose(loud.agreement_, SharedDirections(nulls=0, level=1.0).fit(rows, groups=groups).agreement_)


@pytest.mark.parametrize("level", [0.05, pytest.param(0.2, marks=pytest.mark.slow)])
def test_unrelated_modules_pass_at_the_stated_rate(level):
    """120 draws of modules that share nothing; the Wilson interval of how many pass covers the level."""
    draws = 120
    passed = 0
    for i in range(draws):
        rows, groups = modules(np.random.default_rng([7, i]), n=5, r=3, d=12)
        passed += SharedDirections(nulls=39, level=level, seed=i, rank=1).fit(rows, groups=groups).found_ > 0
    _, low, high = rate_interval(passed, draws)
    assert low <= level <= high, f"{passed} of {draws} passed"


def test_it_turns_with_the_data_and_does_not_mind_their_order():
    rng = np.random.default_rng(2)
    rows, groups = modules(rng, planted=np.eye(24)[3])
    frame = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    plain, turned = (SharedDirections(nulls=20, rank=2).fit(x, groups=groups) for x in (rows, rows @ frame))
    assert np.allclose(plain.agreement_, turned.agreement_)
    assert abs(turned.factors_[0].read[0].numpy() @ (plain.factors_[0].read[0].numpy() @ frame)) > 0.9999
    order = rng.permutation(len(rows))
    mixed = SharedDirections(nulls=20, rank=2).fit(rows[order], groups=groups[order])
    assert np.allclose(plain.agreement_, mixed.agreement_)
    assert abs(mixed.factors_[0].read[0].numpy() @ plain.factors_[0].read[0].numpy()) > 0.9999


def test_no_row_no_direction():
    with pytest.raises(BadInput, match="every row is zero.*trained"):
        SharedDirections().fit(np.zeros((4, 3)))


def test_one_group_shares_with_nobody():
    rows = np.random.default_rng(0).normal(size=(4, 12))
    for null in ("rotation", "edge"):
        finder = SharedDirections(nulls=19, null=null).fit(rows, groups=[0] * 4)
        assert finder.found_ == 0, "its own direction is as strong however it is turned"
        assert finder.factors_[0].evidence["p"] > 0.5


def test_large_rows_take_the_computed_null_and_find_the_same():
    rng = np.random.default_rng(3)
    planted = np.eye(600)[7]
    rows, groups = modules(rng, n=100, r=3, d=600)
    weak = rows.copy()
    weak.reshape(100, 3, 600)[:, 0] += 10 * planted
    auto, edge, drawn = (
        SharedDirections(rank=2, nulls=19, null=null).fit(weak, groups=groups) for null in ("auto", "edge", "rotation")
    )
    assert auto.threshold_ == edge.threshold_
    assert auto.found_ == drawn.found_ == 1
    assert abs(auto.factors_[0].read[0, 7]) > 0.9
    assert 0.95 < drawn.threshold_ / edge.threshold_ < 1.01, "the computed one errs on the safe side"
    assert SharedDirections(rank=2).fit(rows, groups=groups).found_ == 0


def test_by_energy_one_loud_module_wins_and_groups_alike_it_does_not():
    rng = np.random.default_rng(4)
    rows, groups = modules(rng, planted=np.eye(24)[3])
    rows[0] = 1000 * np.eye(24)[5]
    loud, alike = (SharedDirections(rank=1, nulls=0, weigh=w).fit(rows, groups=groups) for w in ("energy", "groups"))
    assert np.abs(loud.components_[0]).argmax() == 5
    assert np.abs(alike.components_[0]).argmax() == 3
    assert loud.agreement_[0] > 0.99


def test_groups_too_small_for_their_own_norm_are_left_out():
    rows = np.random.default_rng(0).normal(size=(6, 12)).astype(np.float32)
    rows[2:4] *= np.float32(1e-30)
    finder = SharedDirections(rank=2, nulls=0).fit(rows, groups=[0, 0, 1, 1, 2, 2])
    assert finder.groups_ == 2
    assert np.isfinite(finder.components_).all()
