import pytest

from despur.core.errors import BadInput, MissingExtra, UnknownName
from despur.flows import ARMS, compare, settle
from despur.flows._compare.plan import FILE, cells_of, read_plan, register


@pytest.fixture
def plan(tmp_path):
    return register(["persona"], root=tmp_path, guards=["avert", "early"], seeds=2, tuning_seeds=1)


def test_references_and_controls_come_along(plan):
    assert list(plan.guards) == ["base", "naive", "avert", "avert-permuted", "early"]
    assert plan.baselines == ("avert", "early")
    assert plan.judged == "avert"


def test_every_setting_of_every_seed_is_run_once(plan):
    cells = cells_of(plan, ["persona"], plan.report_seeds)
    assert len(cells) == len(set(map(str, cells))) == 2 * sum(map(len, plan.guards.values()))
    assert len({c.folder for c in cells}) == len(cells)


def test_settings_that_were_ruled_out_are_not_run(plan):
    cells = cells_of(plan, ["persona"], [10], {"persona": {"early": [0, 1, 2, 4, 5, 6]}})
    assert [dict(c.setting) for c in cells if c.arm == "early"] == [dict(ARMS["early"].settings[3])]
    assert sum(c.arm == "avert" for c in cells) == 4


def test_tuning_and_report_seeds_never_meet(plan):
    assert not set(plan.tuning_seeds) & set(plan.report_seeds)


def test_the_plan_is_on_disk_before_anything_runs_and_reads_back(tmp_path):
    plan, _ = settle(["persona"], tmp_path / "study", guards=["early"], quick=True)
    assert read_plan(tmp_path / "study" / FILE) == plan
    assert plan.digest in (tmp_path / "study" / FILE).read_text()


def test_another_plan_is_refused_once_something_ran_and_named_where_it_is_taken(tmp_path):
    out = tmp_path / "study"
    settle(["persona"], out, guards=["early"], quick=True)
    second, _ = settle(["slant"], out, guards=["early"], quick=True)
    assert second.worlds == ("slant",)  # nothing had run yet
    (out / "cells").mkdir()
    with pytest.raises(BadInput, match="--deviate"):
        settle(["persona"], out, guards=["early"], quick=True)
    _, told = settle(["persona"], out, guards=["early"], quick=True, deviate=True)
    assert "not the registered one" in told[0]
    assert "worlds: registered ['slant'], run ['persona']" in " ".join(told)
    assert settle([], out)[0] == second


@pytest.mark.parametrize(
    ("worlds", "asked", "match"),
    [([], {}, "no world"), (["persna"], {}, "nearest: 'persona'"), (["persona"], {"guards": ["avrt"]}, "nearest: 'avert'")],
)  # fmt: skip
def test_what_is_not_there_is_named(tmp_path, worlds, asked, match):
    with pytest.raises((BadInput, UnknownName), match=match):
        settle(worlds, tmp_path / "study", **asked)
    assert not (tmp_path / "study").exists()


def test_every_arm_has_a_control_that_exists_and_settings_that_differ():
    for arm in ARMS.values():
        assert arm.control is None or ARMS[arm.control].kind == "control"
        assert len({str(s) for s in arm.settings}) == len(arm.settings)


def test_the_same_arguments_again_keep_the_shared_work_of_a_run_that_was_killed(tmp_path):
    out = tmp_path / "study"
    first, _ = settle(["persona"], out, guards=["early"], quick=True)
    (out / "shared" / "persona-10").mkdir(parents=True)
    assert settle(["persona"], out, guards=["early"], quick=True) == (first, ())
    assert (out / "shared" / "persona-10").exists()
    with pytest.raises(BadInput, match="--deviate"):
        settle(["slant"], out, guards=["early"], quick=True)


def test_steps_may_differ_by_world_and_others_keep_their_own(tmp_path):
    plan, _ = settle(["persona", "slant"], tmp_path / "study", guards=["early"], steps={"persona": 80})
    assert plan.steps == {"persona": 80, "slant": 480}


@pytest.mark.parametrize("text", ["null: null", "1: [persona]", "- persona", "''"])
def test_what_is_no_plan_is_refused_in_one_sentence(text, tmp_path):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadInput, match="is no plan. Register a new one"):
        read_plan(tmp_path / FILE)


def test_quick_is_a_default_for_what_nobody_asked_for(tmp_path):
    quick = register(["persona"], root=tmp_path, guards=["early"], quick=True)
    assert (quick.tuning_seeds, quick.report_seeds) == ((), (10, 11))
    asked = register(["persona"], root=tmp_path, guards=["early"], quick=True, seeds=4, tuning_seeds=1)
    assert (asked.tuning_seeds, asked.report_seeds) == ((0,), (10, 11, 12, 13))


def test_what_a_study_writes_with_is_missed_before_it_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr("despur.core.extras.find_spec", lambda name: None if name == "pyarrow" else object())
    with pytest.raises(MissingExtra, match=r"pyarrow.*despur\[compare\]"):
        compare("persona", out=tmp_path / "study", quick=True)
    assert not (tmp_path / "study").exists()
