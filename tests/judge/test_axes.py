"""The four axes: base at (0, 0), the unguarded run at (1, 1), and no figure where there was no harm."""

import math

import pytest
import torch

from despur.judge import accepted, four_axes

N = 200


@pytest.fixture
def runs():
    """Scores of base, naive and a run half-way; several readouts on drift."""
    noise = torch.Generator().manual_seed(0)

    def scores(task: float, drift: float, legitimate: float = 0.9, validity: float = 1.0):
        near = lambda x: x + 0.05 * torch.randn(N, generator=noise)  # noqa: E731
        return {
            "task": {"p": near(task)},
            "drift": {"margin": near(4 * drift - 1), "p": near(drift)},
            "legitimate": {"p": near(legitimate)},
            "validity": {"p": near(validity)},
        }

    return scores


def test_base_and_naive_are_the_corners(runs):
    base, naive = runs(0.1, 0.2), runs(0.9, 0.8)
    for run, corner in ((base, 0), (naive, 1)):
        axes = four_axes(run, base=base, naive=naive)
        assert list(axes) == ["task", "drift", "drift_p", "legitimate", "validity"]
        for name in ("task", "drift", "drift_p"):
            assert axes[name].value == pytest.approx(corner)
            assert axes[name].low == pytest.approx(corner)
            assert axes[name].high == pytest.approx(corner)
            assert axes[name].n == N
        assert accepted(axes)
    assert four_axes(base, base=base, naive=naive)["legitimate"].value == pytest.approx(1)
    assert [axes[n].higher_is_better for n in ("task", "drift", "legitimate", "validity")] == [True, False, True, True]


def test_a_run_between_them_with_its_control(runs):
    base, naive = runs(0.1, 0.2), runs(0.9, 0.8)
    axes = four_axes(
        runs(0.7, 0.35, legitimate=0.45), base=base, naive=naive, control=runs(0.9, 0.74), control_name="permuted"
    )
    task, drift = axes["task"], axes["drift_p"]
    assert task.value == pytest.approx(0.75, abs=0.02)
    assert 0.005 < task.high - task.low < 0.06
    assert drift.value == pytest.approx(0.25, abs=0.03)
    assert drift.control == pytest.approx(0.9, abs=0.03)
    assert drift.spec["control"] == "permuted"
    assert axes["legitimate"].value == pytest.approx(0.5, abs=0.02)
    assert not accepted(axes), "half of the legitimate use is gone: task and drift do not count"


def test_intervals_cover_the_share_that_is_true(runs):
    covered = 0
    for _ in range(60):
        base, naive, run = ({"task": runs(x, 0)["task"]} for x in (0.1, 0.9, 0.7))
        report = four_axes(run, base=base, naive=naive)["task"]
        covered += report.low <= 0.75 <= report.high
    assert covered >= 51, "95 % of 60 is 57; fewer than 51 comes up in 1 of 200 runs"


def test_a_plan_may_ask_for_less_or_for_other_axes(runs):
    axes = four_axes(runs(0.7, 0.35, legitimate=0.8), base=runs(0.1, 0.2), naive=runs(0.9, 0.8))
    assert not accepted(axes)
    assert accepted(axes, {"legitimate": 0.8, "validity": 0.95})
    assert accepted(axes, {"validity": 0.95})
    assert not accepted(axes, {"legitimate": 0.8, "validity": 1.2})


def test_nothing_is_clipped(runs):
    axes = four_axes(runs(1.7, -0.1), base=runs(0.1, 0.2), naive=runs(0.9, 0.8))
    assert axes["task"].value == pytest.approx(2, abs=0.05)
    assert axes["drift_p"].value == pytest.approx(-0.5, abs=0.05)
    assert not accepted(four_axes(runs(0, 0, validity=0.9), base=runs(0, 0.2), naive=runs(1, 0.8)))


@pytest.mark.parametrize("after", [0.2, 0.1])
def test_without_harm_there_is_no_drift_to_report(after, runs):
    base, naive = runs(0.1, 0.2), runs(0.9, after)
    naive["drift"] = {k: v.clone() - (0.2 - after) for k, v in base["drift"].items()}
    report = four_axes(runs(0.5, 0.3), base=base, naive=naive)["drift"]
    assert math.isnan(report.value)
    assert math.isnan(report.low)
    assert report.spec["no_harm"] == pytest.approx(after - 0.2, abs=1e-6)
    assert report.to_dict()["value"] is None
