import contextlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from jobs import run_here

from despur.core.errors import BadInput
from despur.flows import compare, dry_run, report, table
from despur.flows._compare.asked import ASKED, record_of
from despur.flows._compare.cell import Cell, is_done
from despur.flows._compare.compare import by_cost
from despur.flows._compare.plan import FILE, cells_of, read_plan, write_plan
from despur.flows.scores import load_scores
from despur.flows.verb import call_arguments, recorded
from despur.worlds import Persona

STEPS = 20
EMPTY = ("data", "probes", *ASKED, "after_seeds")


@contextlib.contextmanager
def in_small():
    """Runs on as many rows as are seen, and here, since workers would import everything again and have rows of the world's own number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("despur.flows._compare.compare.run_jobs", run_here)
        patch.setattr(Persona, "training", {**Persona().training, "rows": 48 * STEPS})
        yield


@pytest.fixture
def small():
    """What is run again of the study is run as it was."""
    with in_small():
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small comparison, tuned on one seed and reported on two."""
    out = tmp_path_factory.mktemp("compare") / "study"
    with in_small():
        return compare(
            ["persona"], out=out, guards=["truncate", "early"], seeds=2, tuning_seeds=1, steps=STEPS, workers=2
        )


def line(study, guard):
    return next(x for x in study.lines if x.guard == guard)


def test_references_are_where_they_belong(study):
    assert line(study, "naive").axes["task"] == pytest.approx(1)
    assert line(study, "naive").axes["drift"] == pytest.approx(1)
    assert line(study, "naive").area == pytest.approx(0, abs=1e-6)
    assert not study.failed
    assert not study.deviations


def test_what_no_run_needs_is_not_made(study):
    assert {f.name for f in (study.folder / "shared").iterdir()} == {"persona-0", "persona-10", "persona-11"}
    assert {f.name for f in (study.folder / "shared" / "persona-10").iterdir() if f.is_dir()} == {"naive"}


def test_settings_are_chosen_on_tuning_seeds_alone(study):
    assert study.plan.tuning_seeds == (0,)
    assert set(study.grids["persona"].seeds) <= {10, 11}
    assert study.chosen["persona"]["early"]["reason"]


def test_results_are_in_long_form(study):
    means = pq.read_table(study.folder / "results.parquet").to_pylist()
    assert {row["half"] for row in means} == {"validation", "report"}
    assert {row["round"] for row in means} == {"tuning", "report"}
    drift = [r for r in means if r["guard"] == "naive" and r["axis"] == "drift" and r["readout"] == "margin"]
    assert len(drift) == 2 * 3  # halves, seeds
    prompts = pq.read_table(study.folder / "prompts.parquet").to_pylist()
    row = next(r for r in prompts if r["guard"] == "naive" and r["axis"] == "drift" and r["seed"] == 10)
    want = next(r["mean"] for r in drift if r["seed"] == 10 and r["half"] == "report")
    assert np.mean(row["values"][1::2]) == pytest.approx(want, abs=0.01)
    assert json.loads((study.folder / "results.json").read_text())["plan_digest"] == study.plan.digest


def test_the_page_names_plan_guards_and_loads_nothing(study):
    page = study.page.read_text()
    assert study.plan.digest in page
    assert "truncate-random" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_started_again_it_runs_nothing_twice(study):
    before = {f: f.stat().st_mtime_ns for f in (study.folder / "cells").rglob("scores.safetensors")}
    again = compare(out=study.folder, workers=2)
    assert {f: f.stat().st_mtime_ns for f in (study.folder / "cells").rglob("scores.safetensors")} == before
    assert [x.area for x in again.lines] == [x.area for x in study.lines]


def test_its_run_json_makes_the_same_plan_and_is_kept_when_the_study_goes_on(study, tmp_path):
    record = json.loads((study.folder / "run.json").read_text())
    assert record["arguments"] == {
        "worlds": ["persona"], "data": None, "probes": None, "guards": ["truncate", "early"], "seeds": 2, "tuning_seeds": 1,
        "steps": STEPS, "quick": False, "after": [], "after_seeds": 3, "guard_budget": None,
    }  # fmt: skip
    given = call_arguments(compare, {**record["arguments"], "out": tmp_path / "again"}, "run.json")
    assert dry_run(**given).done == 0
    assert read_plan(tmp_path / "again" / FILE).digest == study.plan.digest
    later = record_of(
        study.folder, study.plan, {**recorded(compare, {"worlds": ""}), **dict.fromkeys(EMPTY), "after": ["early"]}
    )
    assert later["arguments"] == {**record["arguments"], "after": ["early"], "after_seeds": None}


def test_a_run_of_another_length_is_not_taken_for_this_one(study):
    cell = Cell("persona", "naive", {}, 10, STEPS)
    assert is_done(study.folder, cell)
    assert not is_done(study.folder, replace(cell, steps=STEPS + 1))


@pytest.mark.slow
def test_a_lost_cell_is_made_again_to_the_last_bit(study, small, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study.folder, copy)
    cell = next((copy / "cells/persona/truncate").rglob("scores.safetensors"))
    want = cell.read_bytes()
    shutil.rmtree(cell.parent)
    compare(out=copy, workers=1)
    assert cell.read_bytes() == want


@pytest.mark.slow  # of a kind with faster ones
def test_a_guard_that_fails_is_reported_and_stops_no_other(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study.folder, copy)
    plan = read_plan(copy / FILE).to_dict()
    plan["guards"]["truncate"] = [{"rank": 0}]
    write_plan(type(study.plan).from_dict(plan), copy)
    broken = compare(out=copy, workers=2)
    assert all("rank=0" in run for run in broken.failed)
    assert len(broken.failed) == 3
    assert not np.isnan(line(broken, "early").area)
    assert any("truncate" in told for told in broken.deviations)


@pytest.mark.slow  # a score of small runs
def test_what_becomes_of_a_guarded_model_afterwards_is_measured_once(study, small, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study.folder, copy)
    after = compare(out=copy, after=["naive", "early"], after_seeds=1, workers=2).after["persona"]
    naive, early = after["naive"][0], after["early"][0]
    assert naive["start"] == pytest.approx([1, 1], abs=1e-4), "a run without a guard is what drift is counted in"
    assert early["start"][1] < naive["start"][1]
    assert early["release"]["points"][-1][1] > early["start"][1] + 0.2, (
        "nothing was guarded, so training on brings drift"
    )
    assert naive["recovery"]["push"] < naive["recovery"]["base_push"], "the naive run is there already"
    assert naive["around"]["base_push"] > 0
    assert naive["around"]["push"] < naive["around"]["base_push"], "by another way, too"
    assert set(naive["ladder"]) == {"1", "2", "4", "16", "32"}
    assert naive["ladder"]["1"][1] < naive["ladder"]["32"][1] > 0.5, "forty steps are few at rank 1"
    kept = copy / "stress/persona/naive/default/10/stress.json"
    before = kept.stat().st_mtime_ns
    page = report(copy).page.read_text()
    compare(out=copy, after=["naive"], after_seeds=1, workers=1)
    assert kept.stat().st_mtime_ns == before
    assert "After the guard: persona" in page


def test_a_study_in_part_is_judged_by_what_is_there(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study.folder, copy)
    shutil.rmtree(copy / "cells/persona/truncate")
    part = report(copy)
    assert "truncate" not in [x.guard for x in part.lines]
    assert part.deviations


def test_references_run_first_and_without_them_nothing_is_judged(study, tmp_path):
    cells = by_cost(cells_of(study.plan, ["persona"], [10, 11]))
    assert [c.arm for c in cells[:4]] == ["base", "naive"] * 2
    assert {c.arm for c in cells[4:]} == {"early", "truncate", "truncate-random", "truncate-bottom"} & set(
        study.plan.guards
    )
    copy = tmp_path / "study"
    shutil.copytree(study.folder, copy)
    for seed in (10, 11):
        shutil.rmtree(copy / f"cells/persona/naive/default/{seed}")
    part = report(copy)
    assert part.lines == ()
    assert any("'naive' in 'persona' was not run" in told for told in part.deviations)


def test_no_study_is_told(tmp_path):
    with pytest.raises(BadInput, match="no readable plan"):
        report(tmp_path)


def test_the_table_has_every_prompt_of_every_run_and_a_run_that_is_gone_without_values(study, tmp_path):
    whole = table(study.folder)
    drift = whole[whole.axis == "drift"]
    cell = Cell("persona", "naive", {}, 10, STEPS)
    mine = drift[drift.run == f"{study.folder.name}/{cell.folder.removeprefix('cells/')}"]
    scores = load_scores(study.folder / cell.folder)["drift"]["margin"]
    np.testing.assert_allclose(mine.value, scores.numpy(), atol=5e-3, rtol=1e-3)
    assert not whole[whole.axis != "recovery ratio"].value.isna().any()
    part = tmp_path / study.folder.name
    shutil.copytree(study.folder, part)
    shutil.rmtree(part / cell.folder)
    report(part)
    frame = table(part)
    gone = frame[frame.value.isna()]
    assert set(gone.run) == {mine.run.iloc[0]}
    assert (gone.n == 0).all()
    assert set(frame.run) == set(whole.run)
