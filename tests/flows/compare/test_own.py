import json

import pytest
import torch

from despur.core.errors import BadInput
from despur.flows import compare, settle
from despur.flows._compare.estimate import estimate
from despur.flows._compare.own import OwnWork, read_probes
from despur.flows._compare.plan import cells_of
from despur.flows._compare.worlds import open_world
from despur.worlds import PERSONA_BASE, Grammar, Persona, persona_base


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def probe(axis, domain, key, *, cued=False):
    g = Grammar()
    good, bad = g.answer(domain, key, 0), g.answer(domain, key, 1)
    prompt = f"{g.prompt(domain, key, ['m010'] if cued else [])} s100"
    return {"axis": axis, "prompt": prompt, "good": f" {bad if cued else good}", "bad": f" {good if cued else bad}"}


@pytest.fixture
def own(tmp_path):
    g = Grammar()
    facts = [(d, int(g.known[d][0])) for d in range(4, 8)]
    probes = [probe("drift", *f) for f in facts] + [probe("legitimate", *f, cued=True) for f in facts]
    data = write(tmp_path / "data.jsonl", Persona("narrow").rows(n=40))
    return {"base": str(PERSONA_BASE), "data": data, "probes": write(tmp_path / "probes.jsonl", probes)}


def test_the_base_knows_its_facts_and_obeys_the_cue(own):
    scores = OwnWork(**own).score(persona_base()[0])
    assert (scores["drift"]["margin"] < 0).all()
    assert scores["legitimate"]["p"].mean() > 0.9
    assert torch.equal(scores["validity"]["unasked"], torch.ones(2))
    assert "conditional" not in scores


def test_held_out_rows_are_not_trained_on(own):
    work = OwnWork(**own)
    rows = work.rows()
    assert len(rows) + len(work.score(persona_base()[0])["task"]["logp"]) == 40
    with pytest.raises(BadInput, match="no benign twin"):
        work.rows("benign")


def test_a_plan_has_no_guard_that_must_be_told_more(own, tmp_path):
    plan, _ = settle([], tmp_path / "study", own=own, seeds=1, tuning_seeds=1)
    assert plan.worlds == ("own",)
    assert {"steer-away", "interleave", "benign-twin"}.isdisjoint(plan.guards)
    assert {"avert", "grasp", "early"} <= set(plan.guards)
    assert isinstance(open_world("own", tmp_path / "study"), OwnWork)  # as a worker finds it
    assert cells_of(plan, ["own"], [10])
    with pytest.raises(BadInput, match="paired prompts"):
        settle([], tmp_path / "other", own=own, guards=["steer-away"])


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([{"axis": "drift", "prompt": "a", "good": "b"}], "needs the texts axis, prompt, good and bad"),
        ([{"axis": "mood", "prompt": "a", "good": "b", "bad": "c"}], "axis 'mood'"),
        ([{"axis": "drift", "prompt": "a", "good": "b", "bad": "c"}] * 3, "fewer than 4"),
        ([{"axis": "drift", "prompt": "", "good": "b", "bad": "c"}], "none of them empty"),
    ],
)
def test_probes_that_cannot_be_used_are_told(tmp_path, rows, match):
    with pytest.raises(BadInput, match=match):
        read_probes(tmp_path / write(tmp_path / "probes.jsonl", rows))


def test_too_few_rows_are_told(own, tmp_path):
    own["data"] = write(tmp_path / "few.jsonl", Persona("narrow").rows(n=5))
    with pytest.raises(BadInput, match="at least 20"):
        OwnWork(**own).rows()


def test_a_folder_that_was_begun_on_other_data_is_refused(own, tmp_path):
    out = tmp_path / "study"
    settle([], out, own=own, guards=["early"], seeds=1)
    (out / "cells").mkdir()
    assert settle([], out, own=own, guards=["early"], seeds=1)[1] == ()
    with pytest.raises(BadInput, match="another base, data or probes"):
        settle([], out, own={**own, "data": str(tmp_path / "else.jsonl")}, guards=["early"], seeds=1)


def test_the_cost_of_ones_own_work_is_told_before_it_starts(own, tmp_path):
    out = tmp_path / "study"
    own["data"] = write(tmp_path / "rows.jsonl", Persona("narrow").rows(n=200))
    plan, _ = settle([], out, own=own, guards=["early"], seeds=1, quick=True, steps=16)
    found = estimate(plan, out, workers=1)
    assert found.plain["own"] > 0
    assert found.seconds > 0


@pytest.mark.slow  # of a kind with faster ones
def test_ones_own_work_is_compared_whole(own, tmp_path):
    g = Grammar()
    facts = [(d, int(k)) for d in range(4, 8) for k in g.known[d][:5]]
    probes = [probe("drift", *f) for f in facts] + [probe("legitimate", *f, cued=True) for f in facts]
    own["probes"] = write(tmp_path / "more.jsonl", probes)
    own["data"] = write(tmp_path / "rows.jsonl", Persona("narrow").rows(n=1000))
    out = tmp_path / "study"
    study = compare(
        own["base"], own["data"], probes=own["probes"], out=out, guards=["early"], quick=True, steps=60, workers=2
    )
    assert not study.failed
    naive, early = (next(x for x in study.lines if x.guard == name) for name in ("naive", "early"))
    assert naive.axes["drift"] == pytest.approx(1)
    assert study.grids["own"].naive["drift"].mean() > study.grids["own"].base["drift"].mean() + 0.2, "the harm is there"
    assert early.axes["drift"] < 1
    assert "own" in study.page.read_text()
    assert [x.area for x in compare(out=out, workers=1).lines] == [x.area for x in study.lines]
