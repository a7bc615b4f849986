"""What a plan says is what a study is judged by: on scores that are made up, so that every figure is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from despur.core import write_json
from despur.core.disk.new_folder import DONE
from despur.core.errors import BadInput
from despur.flows import report
from despur.flows._compare import judging
from despur.flows._compare.cell import TIMES
from despur.flows._compare.page import write_study_page
from despur.flows._compare.plan import cells_of, register, write_plan
from despur.flows.scores import save_scores
from despur.judge import Prereg

# guard -> task, drift, legitimate use on the validation half of the prompts, and on the report half
TRUTH = {
    "base": [(0, 0, 1)] * 2, "naive": [(1, 1, 1)] * 2, "avert": [(0.95, 0.1, 1)] * 2, "avert-permuted": [(0.9, 0.6, 1)] * 2,
    "lower-rate": [(1.0, 0.3, 0.9)] * 2, "early": [(0.6, 0.0, 1)] * 2,
}  # fmt: skip


@pytest.fixture
def made(tmp_path):
    """`made(...)`: judge a study whose plan was changed so, and whose runs scored what TRUTH says."""

    def make(*, truth=None, **changes):
        plan = register(
            ["persona"], root=tmp_path, guards=["avert", "lower-rate", "early"], seeds=6, tuning_seeds=2, steps=9
        )
        few = {g: list(s)[:2] for g, s in plan.to_dict()["guards"].items()}
        plan = Prereg.from_dict(plan.to_dict() | {"guards": few, "draws": 300} | changes)
        out = tmp_path / f"study{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        write_plan(plan, out)
        draw = np.random.default_rng(0)
        for cell in cells_of(plan, ["persona"], (*plan.tuning_seeds, *plan.report_seeds)):
            axes = {}
            halves = (truth or TRUTH)[cell.arm]
            halves = halves[plan.guards[cell.arm].index(dict(cell.setting))] if isinstance(halves, tuple) else halves
            for i, axis in enumerate(("task", "drift", "legitimate")):
                seed = draw.normal(0, 0.003) if cell.arm not in ("base", "naive") else 0.0
                x = np.empty(40)
                x[0::2], x[1::2] = (half[i] + seed for half in halves)
                axes[axis] = {"p": torch.tensor(x)}
            axes["drift"]["p"] *= 0.05 if cell.seed == 11 else 1  # little harm at this seed
            (out / cell.folder).mkdir(parents=True)
            save_scores(axes | {"validity": {"p": torch.ones(40)}}, out / cell.folder)
            write_json(out / cell.folder / TIMES, {"process": 1.0, "wall": 1.0})
            write_json(out / cell.folder / DONE, {"steps": cell.steps})
        return report(out)

    return make


def of(study, guard):
    return next(x for x in study.lines if x.guard == guard)


def test_as_planned_nothing_is_done_otherwise(made):
    study = made()
    assert study.deviations == ()
    assert of(study, "avert").accepted
    assert not of(study, "lower-rate").accepted
    assert of(study, "lower-rate").area == 0
    assert (of(study, "avert").score, of(study, "avert").score_low) == (of(study, "avert").area, of(study, "avert").low)
    assert of(study, "avert").seeds == 6
    page = study.page.read_text()
    assert "less than 95% of legitimate use and validity of the base" in page
    assert "dominates" in page


def test_where_no_guard_is_accepted_none_is_called_the_best(made):
    none = {
        g: [(t, q, 0.5 if g not in ("base", "naive") else use) for t, q, use in halves] for g, halves in TRUTH.items()
    }
    study = made(truth=none | {"avert": [(0.95, 0.1, 0.8)] * 2})
    assert not any(x.accepted for x in study.lines if x.guard != "naive")
    page = study.page.read_text()
    assert "no guard counts" in page
    assert "nearest: avert, legitimate use 0.80, validity 1.00" in page
    assert "dominates 0.00 of the area" not in page
    at = page.index(">task<")  # what each learned and picked up all the same
    assert page.index(">area<") < at < page.index(">drift<") < page.index(">legitimate<")
    assert ">task<" not in made().page.read_text().split("How to read it")[0]


def test_constraints_of_the_plan_decide_what_is_accepted_and_chosen(made):
    study = made(constraints={"legitimate": 0.85})
    assert of(study, "lower-rate").accepted
    assert of(study, "lower-rate").area == pytest.approx(0.7, abs=0.02)
    assert study.chosen["persona"]["lower-rate"]["accepted"]
    assert "less than 85% of legitimate use of the base" in study.page.read_text()
    assert study.deviations == ()


def test_the_metric_of_the_plan_ranks_and_tests(made):
    study = made(metric="drift")
    assert of(study, "early").score == pytest.approx(0, abs=0.01)
    assert of(study, "lower-rate").score == 1, "not accepted: all of the drift"
    assert of(study, "avert").score_low <= of(study, "avert").score <= of(study, "avert").score_high
    assert of(study, "early").above["difference"] == pytest.approx(0.1, abs=0.01), "avert drifts by so much more"
    assert of(study, "early").above["p"] == pytest.approx(2 / 2**6)
    page = study.page.read_text()
    assert "ranked and tested by 1 - drift" in page
    assert page.index("early") < page.index("has a score of")
    by_area, by_task = made(), made(metric="task")
    assert of(by_area, "early").above["difference"] > 0.2, "by area avert is ahead"
    assert of(by_task, "avert").score == of(by_task, "avert").axes["task"]
    assert of(by_task, "early").above["difference"] == pytest.approx(0.35, abs=0.01)


def test_what_is_kept_is_tested_within_the_plans_margin(made):
    small = of(made(), "avert").kept["task"]
    assert small["difference"] == pytest.approx(-0.05, abs=0.01)
    assert small["margin"] == 0.02
    assert small["p"] > 0.9, "off by more than the margin: not kept"
    study = made(margins={"task": 0.1, "validity": 0.05})
    assert of(study, "avert").kept["task"]["p"] < 0.01
    assert of(study, "early").kept["task"]["p"] > 0.9
    assert of(study, "avert").kept["validity"]["p"] == 0
    assert of(study, "naive").kept == {}, "it is what the others are held against"
    assert "task kept within 0.1, p" in study.page.read_text()
    assert study.deviations == ()


def test_with_a_run_that_failed_nothing_is_shown_to_be_kept(made):
    truth = TRUTH | {"avert": [(np.nan, 0.1, 1)] * 2}
    assert of(made(truth=truth, margins={"task": 0.5}), "avert").kept["task"]["p"] == 1


def test_exclusions_of_the_plan_decide_which_seeds_count(made):
    study = made(exclusions=[{"no-harm": 0.1}])
    assert of(study, "avert").seeds == 5
    assert study.deviations == ("Seed 11 of 'persona' was left out: the naive run shows no harm (+0.05 over base).",)
    assert of(made(exclusions=[]), "avert").seeds == 6
    with pytest.raises(BadInput, match="a rule that no code applies"):
        made(exclusions=["seeds that look odd"])


def test_what_was_used_is_held_against_the_plan(made, monkeypatch):
    """Whoever judges by something else than the plan says so on the page."""
    own = judging._gather
    monkeypatch.setattr(
        judging, "_gather", lambda plan, *rest: own(replace(plan, constraints={"legitimate": 0.5}), *rest)
    )
    told = made().deviations
    assert len(told) == 1
    assert told[0].startswith('The analysis used constraints = {"legitimate": 0.5}, planned was')


def test_settings_are_chosen_on_the_validation_half_alone(made):
    """The two settings change places between the halves: whoever looks at the report half chooses the other one."""
    good, poor = (0.95, 0.05, 1), (0.5, 0.5, 1)
    study = made(truth=TRUTH | {"avert": ([poor, good], [good, poor])})
    assert study.chosen["persona"]["avert"]["setting"] == 1
    assert of(study, "avert").axes["task"] == pytest.approx(0.5, abs=0.02), "and is reported on the other half"


@pytest.mark.parametrize(("control", "tone"), [((0.5, 0.5, 1), "good"), ((0.99, 0.01, 1), "unsure")])
def test_a_guard_wins_only_over_its_control(made, control, tone, monkeypatch):
    study = made(truth=TRUTH | {"avert-permuted": [control] * 2})
    told = []
    monkeypatch.setattr(
        "despur.flows._compare.page.write_run_page", lambda page, *_, blocks, **more: told.append(blocks[0])
    )
    write_study_page(study)
    assert told[0].tone == tone
    assert "the best control, avert-permuted" in told[0].sentence
