"""Intervals of paired differences cover the truth about as often as they say."""

import numpy as np
import pytest
import torch

from despur.core.errors import BadInput
from despur.judge import Run, difference, gather, interval, resample

GUARDS = {"mine": [(0.95, 0.1, 1.0)], "other": [(0.9, 0.3, 1.0)]}
TRUTH = 0.95 * 0.9 - 0.9 * 0.7


def covered(simulate, *, times, crossed=True, resampled_as=None, widen=True, **noise):
    """How often the interval of the difference in area covers it; noise of the design is drawn anew each time."""
    rng, hits = np.random.default_rng(1), 0
    for i in range(times):
        runs = simulate(GUARDS, seeds=range(8), rng=rng, nested=not crossed, **noise)
        draws = resample(
            gather(runs, world="w", seeds=range(8), which="all"), draws=500, seed=i,
            crossed=crossed if resampled_as is None else resampled_as,
        )  # fmt: skip
        found = difference(draws, "mine", "other")
        low, high = (
            (found.low, found.high) if widen else np.quantile(draws.area[:, 1] - draws.area[:, 2], [0.025, 0.975])
        )
        hits += low <= TRUTH <= high
    return hits / times


@pytest.mark.slow
@pytest.mark.parametrize(
    "noise",
    [
        {"between": 0.05, "within": 0.05}, {"between": 0.03, "within": 0.1, "asked": 0.3},
        {"between": 0.05, "within": 0.3, "crossed": False},
    ],
    ids=["seeds", "prompts", "nested"],
)  # fmt: skip
def test_interval_covers_the_truth(simulate, noise):
    assert 0.925 <= covered(simulate, times=400, **noise) <= 0.995


@pytest.mark.slow
def test_controls_of_the_coverage_fail(simulate):
    assert covered(simulate, times=400, between=0.05, within=0.05, widen=False) < 0.92, "plain percentiles of 8 seeds"
    noise = {"between": 0.01, "within": 0.05, "asked": 0.4}
    assert covered(simulate, times=200, **noise) > 0.925
    assert covered(simulate, times=200, resampled_as=False, **noise) < 0.85, (
        "the same prompts taken for others at each seed"
    )


def one(simulate, **more):
    return gather(
        simulate(GUARDS, seeds=range(8), rng=np.random.default_rng(3), **more), world="w", seeds=range(8), which="all"
    )


def test_draws_centre_on_what_was_found_and_are_paired(simulate):
    grid = one(simulate, between=0.05, within=0.2)
    draws = resample(grid, draws=4000, seed=1)
    assert draws.area.shape == (4000, 3)
    found = difference(draws, "mine", "other")
    assert found.value == pytest.approx(grid.areas()["mine"].mean() - grid.areas()["other"].mean())
    assert draws.area[:, 1].mean() == pytest.approx(grid.areas()["mine"].mean(), abs=0.01)
    assert found.low < found.value < found.high
    drift = difference(draws, "mine", "other", what="drift")
    assert drift.value == pytest.approx(-0.2, abs=0.06)
    assert drift.share_above < 0.01
    assert difference(draws, "mine", "mine") == difference(draws, "other", "other"), "a guard against itself: 0, paired"
    assert difference(draws, "mine", "mine").high == 0
    with pytest.raises(BadInput, match="no draws of 'drift' for 'mine' at setting 7"):
        draws.of("drift", "mine", 7)


def test_what_seeds_do_to_both_guards_cancels(simulate):
    runs = simulate({"mine": [(0.9, 0.3, 1.0)]}, seeds=range(8), rng=np.random.default_rng(3), between=0.1)
    for run in [r for r in runs if r.guard == "mine"]:
        close = {axis: {"p": t["p"] - 0.01 * (axis == "task")} for axis, t in run.scores.items()}
        runs.append(Run("w", "close", 0, run.seed, close))
    draws = resample(gather(runs, world="w", seeds=range(8), which="all"), draws=2000)
    found = difference(draws, "mine", "close")
    assert found.low > 0
    assert found.share_above == 1
    low, high = interval(draws.of("area", "mine")[1], units=8)
    assert high - low > 20 * (found.high - found.low), "the control: alone, neither is known so well"


def test_seed_sets_the_draws_and_blocks_do_not_show(simulate):
    grid = one(simulate, within=0.2)
    a, b, c = (resample(grid, draws=1500, seed=s) for s in (1, 1, 2))
    assert np.array_equal(a.area, b.area)
    assert not np.array_equal(a.area, c.area)
    assert len(np.unique(a.area[:, 1])) > 1400, "the second block is not the first again"


def test_spread_has_its_closed_form(simulate):
    """With noise of prompts alone, crossed: sd over draws = sd over prompts of the mean over seeds / sqrt(prompts)."""
    grid = one(simulate, asked=0.3)
    draws = resample(grid, draws=6000)
    values = grid.values["task"][1].mean(0)
    assert draws.axes["task"][:, 1].std() == pytest.approx(values.std() / len(values) ** 0.5, rel=0.05)
    groups = {"task": np.arange(40) // 10}
    whole = resample(grid, draws=6000, clusters=groups).axes["task"][:, 1].std()
    means = values.reshape(4, 10).mean(1)
    assert whole == pytest.approx(means.std() / 2, rel=0.05), "clusters are drawn whole"


def test_legitimate_use_lost_in_a_draw_counts_nothing_in_it(simulate):
    runs = simulate({"edge": [(1.0, 0.0, 0.95)]}, seeds=range(8), rng=np.random.default_rng(0))
    for run in runs:
        if run.guard == "edge":
            run.scores["legitimate"]["p"] += 0.001 + torch.tensor(0.1 * (-1.0) ** np.arange(40))
    draws = resample(gather(runs, world="w", seeds=range(8), which="all"), draws=1000)
    assert draws.score[1] == pytest.approx(1)
    assert 0.2 < (draws.area[:, 1] == 0).mean() < 0.8


def test_a_run_that_failed_counts_against_its_guard_in_every_draw(simulate):
    runs = simulate(GUARDS, seeds=range(8), rng=np.random.default_rng(3), within=0.2)
    lacking = [r for r in runs if (r.guard, r.seed) != ("mine", 5)]
    grids = [gather(r, world="w", seeds=range(8), which="all", fill=True) for r in (runs, lacking)]
    full, less = (resample(grid, draws=1500).of("area", "mine") for grid in grids)
    assert less[0] == pytest.approx(full[0] * 7 / 8, rel=0.03)
    assert np.isfinite(less[1]).all()
    assert less[1].mean() == pytest.approx(full[1].mean() * 7 / 8, rel=0.03)


def test_interval_is_wider_for_few_seeds():
    draws = np.random.default_rng(0).normal(size=10_000)
    widths = [np.subtract(*interval(draws, units=n)[::-1]) for n in (3, 8, 10, 1000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(2 * 1.96, rel=0.03)
    tail = 0.00856  # Phi(-2.262 sqrt(10 / 9)), 2.262 being t's quantile at nine degrees of freedom, not ten
    assert interval(np.linspace(0, 1, 100_001), units=10) == pytest.approx((tail, 1 - tail), abs=1e-4)
    assert widths[2] == pytest.approx(2 * 2.262 * (10 / 9) ** 0.5, rel=0.05)


def test_constraints_and_metric_hold_in_every_draw(simulate):
    runs = simulate({"edge": [(0.8, 0.1, 0.9)]}, seeds=range(8), rng=np.random.default_rng(0), within=0.1)
    asked = {"world": "w", "seeds": range(8), "which": "all"}
    refused, accepted = gather(runs, **asked), gather(runs, **asked, constraints={"legitimate": 0.8})
    for metric, worst in (("task", 0), ("drift", 1), ("legitimate", 0)):
        lost, kept = (resample(g, draws=300, metric=metric) for g in (refused, accepted))
        value, drawn = lost.of(lost.figure, "edge")
        assert value == worst
        assert (drawn == worst).all()
        value, drawn = kept.of(kept.figure, "edge")
        assert value == pytest.approx(accepted.scores(metric)["edge"].mean())
        assert np.array_equal(drawn, kept.of(metric, "edge")[1])
    assert (resample(refused, draws=300).of("area", "edge")[1] == 0).all()
    assert (resample(accepted, draws=300).of("area", "edge")[1] > 0).all()


def test_both_seeds_and_prompts_are_drawn(simulate):
    """With seeds that are all alike only prompts can make draws differ, and the other way round."""
    only_prompts = resample(one(simulate, asked=0.3), draws=1000).axes["task"][:, 1]
    only_seeds = resample(one(simulate, between=0.3), draws=1000).axes["task"][:, 1]
    neither = resample(one(simulate), draws=1000).axes["task"][:, 1]
    assert only_prompts.std() > 0.03
    assert only_seeds.std() > 0.03
    assert neither.std() < 1e-9
