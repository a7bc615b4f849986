"""A plan is fixed by its digest, and what was done otherwise is said."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from despur.core.errors import BadInput
from despur.judge import Done, Prereg, deviations

GUARDS = {"mine": ({"strength": 0.5}, {"strength": 1.0}), "other": ({"rate": 0.1}, {"rate": 0.2}), "naive": ({},)}


@pytest.fixture
def plan():
    return Prereg(("w", "v"), GUARDS, (0, 1), (10, 11), {"w": 100, "v": 200}, judged="mine", baselines=("other",))


def all_done(plan, **change):
    return [
        Done(w, g, i, s, change.get("steps", plan.steps[w]), options)
        for w in plan.worlds for g, settings in plan.guards.items() for i, options in enumerate(settings)
        for s in (*plan.tuning_seeds, *plan.report_seeds)
    ]  # fmt: skip


def test_there_and_back_through_yaml_and_json(plan):
    for write, read in ((yaml.safe_dump, yaml.safe_load), (json.dumps, json.loads)):
        back = Prereg.from_dict(read(write(plan.to_dict())))
        assert back == plan
        assert back.digest == plan.digest
    assert len(plan.digest) == 64
    shuffled = {k: plan.to_dict()[k] for k in sorted(plan.to_dict())}
    assert Prereg.from_dict(shuffled).digest == plan.digest


@given(st.sampled_from(["tuning_seeds", "report_seeds", "draws", "metric", "margins", "exclusions", "steps"]))
def test_every_change_shows_in_the_digest(name):
    plan = Prereg(("w",), {"a": ({},)}, (0,), (1,), {"w": 5})
    other = {
        "tuning_seeds": [2], "report_seeds": [3], "draws": 9, "metric": "drift", "margins": {"task": 0.03}, "exclusions": [],
        "steps": {"w": 6},
    }  # fmt: skip
    assert Prereg.from_dict(plan.to_dict() | {name: other[name]}).digest != plan.digest


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"report_seeds": [1, 10]}, "seeds \\[1\\] are for tuning and for the report"), ({"steps": {"w": 1}}, "steps are not given for v"),
        ({"judged": "mien"}, "nearest: 'mine'"), ({"guards": {}}, "one of these is empty"), ({"worlds": "w"}, "must be a list"),
        ({"metrik": "area"}, "no field 'metrik'; nearest: 'metric'"), ({"guards": {"mine": [1.0]}}, "list of mappings"),
        ({"draws": True}, "must be a int"), ({"metric": "aera"}, "metric of a comparison names 'aera'; nearest: 'area'"),
        ({"constraints": {"drift": 0.9}}, "constraints of a comparison names 'drift'"), ({"margins": {"tsk": 0.1}}, "nearest: 'task'"),
        ({"constraints": {"validity": "95 %"}}, "'95 %'; give a number"), ({"margins": {"task": 0}}, "is 0; give a number above 0"),
        ({"exclusions": ["whatever looks odd"]}, "'whatever looks odd' is a rule that no code applies"),
        ({"exclusions": [{"no-harm": "much"}]}, "'much'; give a number"), ({"exclusions": [{"no harm": 0.1}]}, "nearest: 'no-harm'"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned(plan, change, word):
    with pytest.raises(BadInput, match=word):
        Prereg.from_dict(plan.to_dict() | change)
    with pytest.raises(BadInput, match="steps missing"):
        Prereg.from_dict({k: v for k, v in plan.to_dict().items() if k != "steps"})


def test_only_what_has_no_default_must_be_written():
    needed = {"worlds": ["w"], "guards": {"mine": [{}]}, "tuning_seeds": [], "report_seeds": [1], "steps": {"w": 9}}
    assert Prereg.from_dict(needed) == Prereg(("w",), {"mine": ({},)}, (), (1,), {"w": 9})
    for name in needed:
        with pytest.raises(BadInput, match=f"{name} missing"):
            Prereg.from_dict({k: v for k, v in needed.items() if k != name})


def test_as_planned_has_nothing_to_say(plan):
    assert deviations(plan, all_done(plan), used={"metric": "area", "margins": {"task": 0.02}}) == []
    assert plan.fewer == {}
    uneven = Prereg.from_dict(plan.to_dict() | {"guards": {**plan.to_dict()["guards"], "lone": [{}]}})
    assert uneven.fewer == {"lone": 1}


def test_each_deviation_is_a_sentence(plan):
    done = all_done(plan)
    short = [d for d in done if not (d.world == "w" and d.guard == "other" and d.setting == 1)]
    assert deviations(plan, short) == ["'other' in 'w' was not run at setting 1 (seeds 0, 1, 10, 11)."]
    assert deviations(plan, short, without={"w": {"other": [1]}}) == [
        "'other' in 'w' was not run at setting 1 (seeds 0, 1)."
    ]
    assert deviations(plan, short, without={"v": {"other": [1]}}) == deviations(plan, short)
    extra = deviations(plan, [*done, Done("w", "mine", 0, 12, 100, {"strength": 0.5}), Done("w", "new", 0, 10, 100)])
    assert [s.split(" (")[0] for s in extra] == [
        "'mine' in 'w' was run at setting 0 without being planned", "'new' in 'w' was run at setting 0 without being planned",
    ]  # fmt: skip
    tuned = [
        d if d.guard != "mine" or d.setting else Done(d.world, "mine", 0, d.seed, d.steps, {"strength": 0.7})
        for d in done
    ]
    assert deviations(plan, tuned)[0].startswith("'mine' in 'w' had the options {\"strength\": 0.7} at setting 0, not")
    assert len(deviations(plan, all_done(plan, steps=50))) == 6
    told = deviations(plan, done, used={"metric": "drift", "zeal": 1}, excluded={"w": {10: "no harm"}})
    assert told == [
        'The analysis used metric = "drift", planned was "area".',
        "The analysis used zeal = 1, of which the plan knows nothing.", "Seed 10 of 'w' was left out: no harm.",
    ]  # fmt: skip


def test_the_sentence_of_old_plans_is_the_rule_that_it_always_was(plan):
    sentence = ["a seed whose naive run shows no harm, for all guards"]
    for written, harm in ((sentence, 1e-3), (["no-harm"], 1e-3), ([{"no-harm": 0.1}], 0.1), ([], None)):
        assert Prereg.from_dict(plan.to_dict() | {"exclusions": written}).no_harm == harm
    assert plan.to_dict()["exclusions"] == sentence
    assert deviations(plan, all_done(plan), used={"exclusions": [{"no-harm": 1e-3}]}) == []
    assert "exclusions" in deviations(plan, all_done(plan), used={"exclusions": [{"no-harm": 0.1}]})[0]
    assert "exclusions" in deviations(plan, all_done(plan), used={"exclusions": []})[0]


def test_the_committed_plan_reads_and_keeps_its_digest():
    path = Path(__file__).parents[2] / "benchmarks/study/prereg.yaml"
    old = Prereg.from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert path.read_text(encoding="utf-8").startswith(f"# sha256 of the plan: {old.digest}\n")
    assert (old.metric, old.no_harm, old.constraints) == ("area", 1e-3, {"legitimate": 0.95, "validity": 0.95})
