"""Sign flips, Holm, and the bound of what was never seen: against closed forms and under the null."""

import itertools
import math

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.judge import holm, max_t, none_of, rate_interval, sign_flip, versus


@pytest.mark.parametrize("n", [1, 5, 6, 8, 10, 16])
def test_smallest_p_is_two_to_the_one_minus_n(n):
    assert sign_flip(np.linspace(0.1, 0.3, n)) == pytest.approx(2.0 ** (1 - n))
    assert sign_flip(-np.linspace(0.1, 0.3, n)) == pytest.approx(2.0 ** (1 - n))


def test_it_counts_all_sign_patterns():
    d = np.random.default_rng(0).normal(0.4, 1, size=9)
    every = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=9)]
    assert sign_flip(d) == pytest.approx(np.mean(np.array(every) >= abs(d.sum()) - 1e-12))


def test_size_under_the_null_and_power_beside_it():
    rng = np.random.default_rng(1)
    ps = np.array([sign_flip(rng.normal(size=8) * 10.0 ** rng.integers(-3, 3)) for _ in range(600)])
    assert (ps <= 0.05).mean() == pytest.approx(12 / 256, abs=0.02), (
        "the largest p in steps of 2/256 up to 0.05 is 12/256"
    )
    assert np.mean([sign_flip(rng.normal(1.5, 1, size=8)) <= 0.05 for _ in range(100)]) > 0.8


def test_more_than_sixteen_are_drawn_and_ties_and_zeros_are_no_evidence():
    assert sign_flip(np.full(20, 0.3)) == pytest.approx(2 / 2**16, rel=1.1)
    assert sign_flip([0.0] * 8) == 1
    assert sign_flip([1.0, -1.0, 1.0, -1.0]) == 1
    with pytest.raises(BadInput, match="finite"):
        sign_flip([0.1, math.nan])


def test_holm_against_a_worked_example():
    ps = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}  # 4 x 0.005, 3 x 0.01, 2 x 0.03, then not falling
    assert holm(ps) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(holm(ps)) == list(ps)
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_max_t_of_one_baseline_is_the_sign_flip_test():
    for seed in range(20):
        gap = np.random.default_rng(seed).normal(0.4, 1, 7)
        assert max_t({"a": gap})["a"] == pytest.approx(sign_flip(gap))


def test_max_t_can_tell_what_holm_never_could():
    draw = np.random.default_rng(0)
    gaps = {str(i): 1 + 0.1 * draw.normal(size=8) for i in range(35)} | {"even": draw.normal(size=8)}
    ps = {name: sign_flip(gap) for name, gap in gaps.items()}
    assert min(holm(ps).values()) > 0.25
    joint = max_t(gaps)
    assert max(p for name, p in joint.items() if name != "even") == pytest.approx(2 / 2**8)
    assert joint["even"] >= ps["even"] > 0.05, "adjusted, so never under the test alone"


def test_max_t_keeps_the_rate_of_any_false_claim():
    draw = np.random.default_rng(0)

    def least() -> float:
        shared = draw.normal(size=8)  # what a seed does to all baselines
        return min(max_t({str(i): 0.5 * shared + draw.normal(size=8) for i in range(12)}).values())

    assert np.mean([least() <= 0.05 for _ in range(300)]) <= 0.07


def test_max_t_draws_signs_where_they_are_many_and_says_what_it_cannot_take():
    assert max_t({}) == {}
    assert max_t({"a": np.ones(20), "b": np.tile([1.0, -1.0], 10)}) == {"a": pytest.approx(0, abs=1e-4), "b": 1.0}
    with pytest.raises(BadInput, match="same seeds"):
        max_t({"a": [1.0, 2.0], "b": [1.0]})
    with pytest.raises(BadInput, match="finite"):
        max_t({"a": [1.0, float("nan")]})


def test_holm_keeps_the_rate_of_any_false_claim():
    rng = np.random.default_rng(2)
    ps = [{str(i): float(p) for i, p in enumerate(rng.uniform(size=6))} for _ in range(1000)]
    assert np.mean([min(holm(p).values()) < 0.05 for p in ps]) < 0.07
    assert np.mean([min(p.values()) < 0.05 for p in ps]) > 0.2, "the control: without it, one in four"


def test_never_seen_is_bounded():
    assert none_of(400) == pytest.approx(3 / 400, rel=0.01)
    assert none_of(1) == pytest.approx(0.95)
    assert none_of(1, level=0.5) == pytest.approx(0.5)
    assert none_of(20) < rate_interval(0, 20)[2], "one-sided, so a little lower than Wilson's"
    with pytest.raises(BadInput, match="at least once"):
        none_of(0)


def test_versus_pairs_by_seed():
    rng = np.random.default_rng(3)
    hard = rng.normal(size=8)  # seeds differ by far more than guards do
    scores = {"mine": hard + 0.1, "a": hard, "b": hard[::-1].copy()}
    found = versus(scores, "mine", ["a", "b"])
    assert found["a"].difference == pytest.approx(0.1)
    assert found["a"].p == pytest.approx(2 / 256)
    assert found["a"].p_holm == pytest.approx(4 / 256)
    assert found["b"].p > 0.3, "the control: the same figures with the pairing lost"
    with pytest.raises(BadInput, match="no scores of c"):
        versus(scores, "mine", ["c"])


def by_hand(gaps, *, step_down=True):
    """Max-T from its definition: every sign pattern in turn, the largest of the hypotheses that are still open."""
    t = lambda signs, d: abs(np.dot(signs, d)) / len(d) / np.sqrt(np.mean(np.square(d)))  # noqa: E731
    n = len(next(iter(gaps.values())))
    order = sorted(gaps, key=lambda name: -t(np.ones(n), gaps[name]))
    out, least = {}, 0.0
    for i, name in enumerate(order):
        among = order[i:] if step_down else order
        reached = [max(t(s, gaps[g]) for g in among) >= t(np.ones(n), gaps[name]) - 1e-12
                   for s in itertools.product((-1, 1), repeat=n)]  # fmt: skip
        least = out[name] = max(least, float(np.mean(reached)))
    return out


def test_max_t_steps_down():
    """Once the first is settled, it no longer stands in the way of the second."""
    gaps = {"first": np.array([2.0, 1, 1, 1]), "second": np.array([3.0, 3, 1, -2])}
    down, single = by_hand(gaps), by_hand(gaps, step_down=False)
    assert (down["second"], single["second"]) == (6 / 16, 10 / 16)
    assert max_t(gaps) == pytest.approx(down)
    for seed in range(30):
        draw = np.random.default_rng(seed)
        gaps = {str(i): draw.normal(0.3 * i, 1, size=7) for i in range(4)}
        assert max_t(gaps) == pytest.approx(by_hand(gaps))


def test_adjusted_p_never_falls_as_the_evidence_does_nor_under_the_test_alone():
    for seed in range(30):
        draw = np.random.default_rng(seed)
        gaps = {str(i): draw.normal(draw.uniform(0, 1), 1, size=8) for i in range(6)}
        ps, alone = max_t(gaps), {name: sign_flip(gap) for name, gap in gaps.items()}
        order = sorted(gaps, key=lambda name: -abs(gaps[name].mean()) / np.sqrt(np.mean(gaps[name] ** 2)))
        assert [ps[name] for name in order] == sorted(ps.values())
        assert all(ps[name] >= alone[name] - 1e-12 for name in gaps)


def test_patterns_as_extreme_as_what_was_seen_count_as_extreme():
    tied = [1.0, 1.0, -1.0, 1.0]  # |sum| is 2 or more in 10 of 16 patterns, more than 2 in 2
    assert sign_flip(tied) == pytest.approx(10 / 16)
    assert max_t({"a": tied})["a"] == pytest.approx(10 / 16)
    rounded = [-0.6, -0.6, -0.6, -0.4, 0.4]  # another pattern sums to the same but for rounding
    assert sign_flip(rounded) == pytest.approx(6 / 32)
    assert max_t({"a": rounded})["a"] == pytest.approx(6 / 32)
