"""Settings are chosen, and guards screened, on tuning seeds; ties go to the weaker."""

import numpy as np

from despur.judge import choose_setting, dominated, gather, outdone, resample


def chosen(simulate, settings, **more):
    runs = simulate({"mine": settings}, seeds=(0, 1, 2), rng=np.random.default_rng(0), **more)
    return choose_setting(gather(runs, world="w", seeds=(0, 1, 2), which="validation"))["mine"]


def test_largest_rectangle_among_accepted_ones(simulate):
    found = chosen(simulate, [(1.0, 0.9, 1.0), (0.9, 0.2, 0.96), (0.8, 0.1, 0.96), (1.0, 0.0, 0.94)])
    assert (found.setting, found.accepted) == (1, True)
    assert abs(found.area - 0.72) < 1e-6, "0.8 x 0.9 ties with 0.9 x 0.8: the weaker"
    assert chosen(simulate, [(0.9, 0.2, 1.0), (0.9, 0.15, 1.0)]).setting == 1, "better by more than a tie"
    assert chosen(simulate, [(0.9, 0.2, 1.0), (0.9, 0.199, 1.0)]).setting == 0


def test_none_accepted_is_said(simulate):
    found = chosen(simulate, [(0.9, 0.2, 0.2), (0.9, 0.0, 0.6), (0.9, 0.0, 0.4)])
    assert (found.setting, found.accepted) == (1, False)
    assert "keeps 60%" in found.reason
    assert not chosen(simulate, [(0.9, 0.2, 1.0)], validity=float("nan")).accepted


def test_report_half_and_report_seeds_do_not_matter(simulate):
    runs = simulate(
        {"mine": [(0.9, 0.2, 1.0), (0.9, 0.3, 1.0)]}, seeds=range(6), rng=np.random.default_rng(0), within=0.1
    )
    before = choose_setting(gather(runs, world="w", seeds=(0, 1, 2), which="validation"))
    for run in runs:
        for readouts in run.scores.values():
            readouts["p"][1 :: 2 if run.seed < 3 else 1] *= 7
    assert choose_setting(gather(runs, world="w", seeds=(0, 1, 2), which="validation")) == before
    assert choose_setting(gather(runs, world="w", seeds=(0, 1, 2), which="report")) != before


def test_only_what_is_clearly_worse_is_screened(simulate):
    guards = {
        "best": [(1.0, 0.1, 1.0)],
        "near": [(1.0, 0.13, 1.0)],
        "far": [(0.5, 0.6, 1.0)],
        "void": [(1.0, 0.0, 0.1)],
    }
    runs = simulate(guards, seeds=(0, 1, 2), rng=np.random.default_rng(0), between=0.03, within=0.1)
    draws = resample(gather(runs, world="w", seeds=(0, 1, 2), which="validation"), draws=1000)
    found = dominated(draws)
    assert set(found) == {"far", "void"}
    assert "has at least" in found["far"]
    assert set(dominated(draws, spare=["far"])) == {"void"}


def test_a_setting_is_outdone_by_an_accepted_one_of_the_same_guard_alone(simulate):
    guards = {
        "mine": [
            (1.0, 0.5, 1.0),
            (0.95, 0.51, 1.0),
            (0.99, 0.5, 1.0),
            (0.8, 0.1, 1.0),
            (1.0, 0.0, 0.8),
            (1.0, 0.2, 0.94),
        ],
        "other": [(0.9, 0.9, 1.0)],  # outdone by mine, which does not count
        "void": [(1.0, 0.0, 0.5), (0.1, 0.9, 0.6)],
    }
    runs = simulate(guards, seeds=(0, 1), rng=np.random.default_rng(0))
    grid = gather(runs, world="w", seeds=(0, 1), which="validation")
    # 2 is within a tie of 0; 4 is far from accepted; 5 nearly is, and outdoes nobody
    assert outdone(grid) == {"mine": (1, 4), "void": (0,)}


def test_as_much_of_one_and_clearly_better_in_the_other_outdoes(simulate):
    guards = {"task": [(0.8, 0.25, 1.0), (0.9, 0.25, 1.0)], "drift": [(0.75, 0.2, 1.0), (0.75, 0.1, 1.0)]}
    runs = simulate(guards, seeds=(0, 1), rng=np.random.default_rng(0))
    assert outdone(gather(runs, world="w", seeds=(0, 1), which="validation")) == {"task": (0,), "drift": (0,)}


def test_a_control_dominates_nobody(simulate):
    guards = {"twin": [(1.0, 0.0, 1.0)], "mine": [(1.0, 0.3, 1.0)], "poor": [(0.5, 0.6, 1.0)]}
    runs = simulate(guards, seeds=(0, 1, 2), rng=np.random.default_rng(0), between=0.03, within=0.1)
    draws = resample(gather(runs, world="w", seeds=(0, 1, 2), which="validation"), draws=1000)
    assert set(dominated(draws)) == {"mine", "poor"}
    assert set(dominated(draws, apart=["twin"])) == {"poor"}


def test_what_is_accepted_is_what_the_constraints_say(simulate):
    guards = {"mine": [(0.9, 0.5, 1.0), (0.9, 0.1, 0.7)]}
    runs = simulate(guards, seeds=(0, 1), rng=np.random.default_rng(0))
    for run in runs:
        run.scores["validity"]["p"] *= 0.9 if run.guard == "mine" else 1
    asked = {"world": "w", "seeds": (0, 1), "which": "validation"}
    default = choose_setting(gather(runs, **asked))["mine"]
    assert (default.setting, default.accepted) == (0, False)
    assert default.reason == "no setting keeps 95% of legitimate use and validity; this one keeps 90% of validity"
    uneven = gather(runs, **asked, constraints={"legitimate": 0.95, "validity": 0.85})
    assert (choose_setting(uneven)["mine"].setting, choose_setting(uneven)["mine"].accepted) == (0, True)
    loose = gather(runs, **asked, constraints={"legitimate": 0.6})
    assert choose_setting(loose)["mine"].setting == 1
    assert outdone(loose) == {"mine": (0,)}
    assert outdone(uneven) == {"mine": (1,)}
    lost = gather(runs, **asked, constraints={"legitimate": 1.5, "validity": 0.95})
    assert (
        "keeps 150% of legitimate use and 95% of validity; this one keeps 100% of legitimate use"
        in choose_setting(lost)["mine"].reason
    )


def test_screening_goes_by_the_metric_and_the_chosen_settings(simulate):
    guards = {"calm": [(0.5, 0.0, 1.0)], "eager": [(0.1, 0.9, 1.0), (1.0, 0.4, 1.0)]}
    runs = simulate(guards, seeds=(0, 1, 2), rng=np.random.default_rng(0), between=0.02, within=0.1)
    grid = gather(runs, world="w", seeds=(0, 1, 2), which="validation")

    def by(metric, **settings):
        return dominated(resample(grid, draws=500, metric=metric), settings=settings, apart=["naive"])

    assert set(by("area")) == set()
    assert set(by("drift", eager=1)) == {"eager"}
    assert by("drift", eager=1)["eager"].startswith("drift at least 0.3")
    assert set(by("task", eager=1)) == {"calm"}
    assert set(by("task", eager=0)) == {"eager"}
