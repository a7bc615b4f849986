"""Runs in the long form become arrays in which all is paired, or it is said what is missing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from despur.core.errors import BadInput
from despur.judge import Run, four_axes, gather, half, hypervolume

GUARDS = {"mine": [(0.5, 0.1, 1.0), (0.9, 0.2, 0.99), (1.0, 0.1, 0.5)], "other": [(0.8, 0.8, 1.0)]}


@pytest.fixture
def runs(simulate):
    return simulate(GUARDS, seeds=range(4), rng=np.random.default_rng(0), between=0.05, within=0.2)


def test_halves_share_no_prompt_and_lose_none():
    scores = {"task": {"p": torch.arange(7.0)}}
    first, second = (half(scores, which)["task"]["p"].tolist() for which in ("validation", "report"))
    assert sorted(first + second) == list(range(7))
    assert not set(first) & set(second)


def test_axes_are_those_of_a_single_run(runs):
    grid = gather(runs, world="w", seeds=[0, 2, 3], which="report")
    assert grid.guards == ("naive", "mine", "other")
    for (guard, setting), row in zip(grid.columns, range(len(grid.columns)), strict=True):
        for s, seed in enumerate(grid.seeds):
            base, naive, own = (
                half(next(r.scores for r in runs if (r.guard, r.setting, r.seed) == key), "report")
                for key in (("base", 0, seed), ("naive", 0, seed), (guard, setting, seed))
            )
            axes = four_axes(own, base=base, naive=naive)
            for axis in axes:
                assert grid.axes[axis][row, s] == pytest.approx(axes[axis].value)
    assert np.allclose(grid.areas()["naive"], 0)
    points, kept = grid.points("mine", seed=2)
    assert grid.areas()["mine"][1] == pytest.approx(hypervolume(points, kept))
    assert kept.tolist() == [True, True, False], "half of the legitimate use gone"
    assert hypervolume(points) > hypervolume(points, kept) + 0.05, "control: the best point is the one refused"


def in_other_units(scores):
    spanned = {axis: {k: 0.3 + 0.5 * v for k, v in scores[axis].items()} for axis in ("task", "drift")}
    return spanned | {axis: {k: 0.4 * v for k, v in scores[axis].items()} for axis in ("legitimate", "validity")}


def test_the_unit_and_the_zero_of_a_readout_do_not_matter(runs):
    """A base rarely scores 0 and a naive run 1, as those of the simulations do."""
    asked = {"world": "w", "seeds": range(4), "which": "all"}
    plain = gather(runs, **asked)
    other = gather([replace(run, scores=in_other_units(run.scores)) for run in runs], **asked)
    for axis, values in plain.axes.items():
        assert np.allclose(other.axes[axis], values)
        assert not np.allclose(other.values[axis], plain.values[axis]), "the control"
    assert np.allclose(other.areas()["mine"], plain.areas()["mine"])


def test_runs_of_other_worlds_and_seeds_are_ignored(runs, simulate):
    asked = {"world": "w", "seeds": range(3), "which": "all"}
    elsewhere = simulate(GUARDS, seeds=range(6), rng=np.random.default_rng(1), world="v")
    alone, among = (
        gather(some, **asked) for some in ([r for r in runs if r.seed < 3], [*runs, *elsewhere, *elsewhere[:5]])
    )
    assert np.array_equal(alone.areas()["mine"], among.areas()["mine"])
    assert among.columns == alone.columns


def test_order_of_runs_does_not_matter(runs):
    one, two = (gather(r, world="w", seeds=range(4), which="all") for r in (runs, runs[:2] + runs[:1:-1]))
    assert all(np.array_equal(one.areas()[g], two.areas()[g]) for g in one.guards)
    assert [s for g, s in two.columns if g == "mine"] == [0, 1, 2]


def test_missing_and_doubled_runs_are_named(runs):
    lacking = [r for r in runs if (r.guard, r.setting, r.seed) != ("mine", 1, 2)]
    with pytest.raises(BadInput, match="'mine' at setting 1, seed 2 in world 'w' is missing"):
        gather(lacking, world="w", seeds=range(4), which="all")
    grid = gather(lacking, world="w", seeds=range(4), which="all", fill=True)
    assert grid.missing == (("mine", 1, 2),)
    assert not grid.kept[grid.of("mine")[1], 2]
    full = gather(runs, world="w", seeds=range(4), which="all")
    assert 0 < grid.areas()["mine"][2] < full.areas()["mine"][2], "it counts against the guard, not for it"
    with pytest.raises(BadInput, match="twice"):
        gather([*runs, runs[3]], world="w", seeds=range(4), which="all")
    with pytest.raises(BadInput, match="axes legitimate"):
        gather([Run("w", "base", 0, 0, {a: {"p": torch.ones(2)} for a in ("task", "drift", "validity")})], world="w",
               seeds=[0], which="all", fill=True)  # fmt: skip
    with pytest.raises(BadInput, match="no run of 'mien'"):
        full.of("mien")


def test_a_seed_without_harm_is_left_out_for_all_and_told(runs):
    harmless = [
        Run(r.world, r.guard, r.setting, r.seed, {**r.scores, "drift": {"p": torch.zeros(40)}}) if r.seed == 1 else r
        for r in runs
    ]
    grid = gather(harmless, world="w", seeds=range(4), which="all")
    assert grid.seeds == (0, 2, 3)
    assert "no harm" in grid.excluded[1]
    with pytest.raises(BadInput, match="no harm"):
        gather(harmless, world="w", seeds=[1], which="all")


def test_a_run_that_gave_nan_is_not_accepted_and_stays(runs):
    broken = [
        Run(r.world, r.guard, r.setting, r.seed, {a: {"p": torch.full((40,), math.nan)} for a in r.scores})
        if r.guard == "other" and r.seed == 0 else r for r in runs
    ]  # fmt: skip
    areas = gather(broken, world="w", seeds=range(4), which="all").areas()["other"]
    assert areas[0] == 0
    assert (areas[1:] > 0).all()


def test_constraints_decide_what_counts(runs):
    strict = gather(runs, world="w", seeds=range(4), which="all", constraints={"legitimate": 0.995})
    loose = gather(runs, world="w", seeds=range(4), which="all", constraints={"legitimate": 0.4})
    none = gather(runs, world="w", seeds=range(4), which="all", constraints={})
    mine = strict.of("mine")
    assert strict.kept[mine].all(1).tolist() == [True, False, False], "0.99 of legitimate use is not enough here"
    assert loose.kept[mine].all()
    assert none.kept[mine].all()
    assert strict.areas()["mine"].mean() < loose.areas()["mine"].mean()
    assert strict.points("mine")[1].tolist() == [True, False, False]
    assert loose.points("mine", seed=2)[1].all()
    with pytest.raises(BadInput, match="names the axis 'forgetting'"):
        gather(runs, world="w", seeds=range(4), which="all", constraints={"forgetting": 0.9}).areas()


def test_a_metric_is_the_area_or_an_axis_at_the_chosen_settings(runs):
    grid = gather(runs, world="w", seeds=range(4), which="all")
    area, task = grid.scores(), grid.scores("task", {"mine": 1})
    assert all(np.array_equal(area[g], grid.areas()[g]) for g in grid.guards)
    assert np.array_equal(task["mine"], grid.axes["task"][grid.of("mine")[1]])
    lost = {"mine": 2}  # half of its legitimate use is gone: nothing of the good, all of the bad
    assert (grid.scores("task", lost)["mine"] == 0).all()
    assert (grid.scores("drift", lost)["mine"] == 1).all()
    assert (grid.scores("legitimate", lost)["mine"] == 0).all()
    with pytest.raises(BadInput, match="names the axis 'tsk'; nearest: 'task'"):
        grid.scores("tsk")


def test_how_little_harm_leaves_a_seed_out_is_what_the_plan_says(runs):
    scaled = [
        Run(r.world, r.guard, r.setting, r.seed, {**r.scores, "drift": {"p": r.scores["drift"]["p"] * (0.05 if r.seed == 1 else 1)}})
        for r in runs
    ]  # fmt: skip
    assert gather(scaled, world="w", seeds=range(4), which="all").seeds == (0, 1, 2, 3), "0.05 is some harm"
    assert gather(scaled, world="w", seeds=range(4), which="all", no_harm=0.1).seeds == (0, 2, 3)
    turned = [
        Run(r.world, r.guard, r.setting, r.seed, {**r.scores, "drift": {"p": r.scores["drift"]["p"] * (-1 if r.seed == 1 else 1)}})
        for r in runs
    ]  # fmt: skip
    assert gather(turned, world="w", seeds=range(4), which="all").seeds == (0, 2, 3), "a tune that does good is no harm"
    still = [
        Run(r.world, r.guard, r.setting, r.seed, {**r.scores, "drift": {"p": torch.zeros(40)}}) if r.seed == 1 else r
        for r in runs
    ]
    assert gather(still, world="w", seeds=range(4), which="all", no_harm=None).seeds == (0, 1, 2, 3), "no such rule"
    assert gather(still, world="w", seeds=range(4), which="all").seeds == (0, 2, 3)
