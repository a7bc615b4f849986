"""One run as one figure: area, its interval, what voids it."""

import numpy as np
import pytest

from despur.judge import area_of_one, hypervolume

RNG = np.random.default_rng(0)


def scores(task: float, drift: float, legitimate: float = 1.0, n: int = 40, noise: float = 0.0):
    def around(mean: float):
        return {"p": mean + noise * RNG.standard_normal(n)}

    return {"task": around(task), "drift": around(drift), "legitimate": around(legitimate), "validity": around(1.0)}


BASE, NAIVE = scores(0, 0), scores(1, 1)


@pytest.mark.parametrize(("task", "drift"), [(1, 0), (0.5, 0.25), (1.1, -0.2), (0.9, 1.2), (-0.1, 0.0), (0, 0), (1, 1)])
def test_same_area_as_for_a_guard_with_one_setting(task, drift):
    report = area_of_one(scores(task, drift), base=BASE, naive=NAIVE, control=NAIVE, constraints={})
    assert report.value == pytest.approx(hypervolume([(float(task), float(drift))]), abs=1e-9)
    assert report.spec["task"] == pytest.approx(task)
    assert report.spec["drift"] == pytest.approx(drift)
    assert report.control == 0


def test_the_unit_and_the_zero_of_a_readout_do_not_matter():
    base, naive = scores(0.3, 0.1, 0.4), scores(0.8, 0.6, 0.4)
    report = area_of_one(scores(0.6, 0.2, 0.39), base=base, naive=naive, control=naive)
    assert report.value == pytest.approx(0.6 * 0.8)
    assert [report.spec[axis] for axis in ("task", "drift", "legitimate")] == pytest.approx([0.6, 0.2, 0.975])
    assert area_of_one(scores(0.6, 0.2, 0.37), base=base, naive=naive, control=naive).value == 0


def test_lost_legitimate_use_voids_a_run():
    assert area_of_one(scores(1, 0, 0.94), base=BASE, naive=NAIVE, control=BASE).value == 0
    assert area_of_one(scores(1, 0, 0.96), base=BASE, naive=NAIVE, control=BASE).value == 1
    assert area_of_one(scores(1, 0, 0.94), base=BASE, naive=NAIVE, control=BASE, constraints={}).value == 1


def test_the_interval_covers_and_narrows():
    few, many = (
        area_of_one(
            scores(0.8, 0.2, n=n, noise=0.3), base=scores(0, 0, n=n), naive=scores(1, 1, n=n), control=scores(1, 1, n=n),
            constraints={},
        )
        for n in (30, 3000)
    )  # fmt: skip
    assert few.low < 0.64 < few.high
    assert many.low < 0.64 < many.high
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_without_harm_there_is_no_figure():
    assert np.isnan(area_of_one(scores(1, 0), base=BASE, naive=scores(1, 0), control=BASE).value)
