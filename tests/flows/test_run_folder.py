"""The folder of a run: the same arguments go on in it, others are refused; checkpoints that are not whole are not taken."""

import json
import resource
import shutil

import pytest
import yaml

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows import Settings, train
from despur.flows._train.checkpoints import Checkpoints, save_every
from despur.worlds import Persona

QUICK = Settings(steps=6, lr=2e-3, rank=4)
GIVEN = {"settings": QUICK, "scout_steps": 5, "own_rows": 16, "own_tokens": 8, "save_every": 2}


def stop_at(name, at):
    def progress(stage, step, steps, figures):
        if (stage, step) == (name, at):
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in Persona("narrow").rows(n=60, seed=1)))
    return path


@pytest.fixture(scope="module")
def stopped(base, rows, tmp_path_factory):
    """A run that was stopped at the fifth step of its guarded run."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(base, rows, out=out, **GIVEN, progress=stop_at("adapter", 5))
    return out


@pytest.fixture
def interrupted(stopped, tmp_path):
    """A copy of it."""
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.fixture
def data(rows):
    return rows


def test_checkpoints_lie_beside_the_unfinished_stage_and_only_there(base, data, interrupted):
    (stage,) = (interrupted / ".checkpoints").iterdir()
    assert stage.name.startswith("adapter-")
    assert sorted(p.name for p in stage.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    result = train(base, data, out=interrupted, **GIVEN)
    assert result.notes == ("adapter was interrupted, and went on from step 4",)
    assert not (interrupted / ".checkpoints").exists()
    assert train(base, data, out=interrupted, **{**GIVEN, "save_every": 3}).notes == (), "found; saving changes nothing"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": Settings(steps=7, lr=2e-3, rank=4)}, "steps was 6 and is 7 now"),
        ({"guard": "grasp", "patience": 2, "eval_every": 3}, "guard was 'avert' and is 'grasp' now; eval_every was 0 .* patience"),
        ({"rehearse_on": "text.jsonl"}, "rehearse_on was None and is 'text.jsonl' now"),
    ],
    ids=["steps", "several", "a path"],
)  # fmt: skip
def test_another_runs_folder_is_refused_by_what_differs(change, said, base, data, interrupted):
    before = (interrupted / "config.yaml").read_bytes()
    with pytest.raises(BadInput, match=f"{said}.*--resume .*run.*--overwrite"):
        train(base, data, out=interrupted, **{**GIVEN, **change})
    assert (interrupted / "config.yaml").read_bytes() == before


def test_changed_data_is_another_run(base, data, tmp_path):
    mine = shutil.copy(data, tmp_path / "mine.jsonl")
    with pytest.raises(KeyboardInterrupt):
        train(base, mine, out=tmp_path / "run", **GIVEN, progress=stop_at("scout", 1))
    mine.write_text("".join(data.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(BadInput, match="other arguments: the content of the data changed since"):
        train(base, mine, out=tmp_path / "run", **GIVEN)


@pytest.mark.slow  # of a kind with faster ones
def test_the_same_file_by_another_name_is_the_same(base, data, interrupted, monkeypatch):
    monkeypatch.chdir(data.parent)
    assert train(base, data.name, out=interrupted, **GIVEN).adapter.exists()


@pytest.mark.slow  # of a kind with faster ones
def test_overwriting_keeps_what_is_equal_and_clears_what_is_not_of_this_run(base, data, interrupted):
    scout = (interrupted / "scout/adapter_model.safetensors").stat().st_mtime_ns
    (interrupted / "mine").mkdir()
    result = train(base, data, out=interrupted, **GIVEN, guard="grasp", overwrite=True)
    assert (interrupted / "scout/adapter_model.safetensors").stat().st_mtime_ns == scout
    assert read_json(result.adapter / "guard.json")["guard"] == "grasp"
    train(base, data, out=interrupted, **GIVEN, guard="none", overwrite=True)
    left = {p.name for p in interrupted.iterdir() if p.is_dir()}
    assert left == {"adapter", "scout", "factors", "own_text", "fresh_text", "mine"}, "weight_factors were grasp's"


def test_a_folder_of_something_else_is_refused(base, data, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/report.html").write_text("an audit's")
    with pytest.raises(BadInput, match="contains report.html, and no config.yaml of a run.*--overwrite"):
        train(base, data, out=tmp_path / "run", **GIVEN)
    assert (tmp_path / "run/report.html").read_text() == "an audit's"


@pytest.mark.slow  # of a kind with faster ones
def test_arguments_that_made_nothing_yet_may_be_mended(base, data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(base, data, out=tmp_path / "run", **GIVEN, progress=stop_at("fresh_text", 0))
    result = train(base, data, out=tmp_path / "run", **{**GIVEN, "guard": "none"})
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["guard"] == "none"
    assert result.adapter.exists()


def test_checkpoints_that_are_not_whole_are_skipped(base, data, interrupted):
    (stage,) = (interrupted / ".checkpoints").iterdir()
    kept = Checkpoints(stage, 2)
    (stage / "checkpoint-x").mkdir()
    shutil.copytree(stage / "checkpoint-4", stage / "checkpoint-5")  # its state says 4
    assert kept.last() == stage / "checkpoint-4"
    path = stage / "checkpoint-4/optimizer.pt"
    path.write_bytes(path.read_bytes()[:-30])
    assert kept.last() == stage / "checkpoint-2"
    assert [p.name for p in stage.iterdir()] == ["checkpoint-2"]
    assert train(base, data, out=interrupted, **GIVEN).notes == ("adapter was interrupted, and went on from step 2",)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "trainer_state.json", "rng_state.pth"])
def test_a_cut_file_makes_a_checkpoint_half(name, interrupted):
    (stage,) = (interrupted / ".checkpoints").iterdir()
    path = stage / "checkpoint-4" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert Checkpoints(stage, 2).last() == stage / "checkpoint-2"


def test_a_disk_too_full_for_a_checkpoint_is_one_sentence_and_the_run_goes_on_from_the_last(
    base, data, tmp_path, interrupted
):
    (stage,) = (interrupted / ".checkpoints").iterdir()
    room = (stage / "checkpoint-4/optimizer.pt").stat().st_size - 1000  # for the adapter, not for its optimiser
    shutil.rmtree(stage / "checkpoint-4")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(
            BadInput, match=r"writing .*checkpoint-4' failed: .*--save-every 0\).*continues from step 2$"
        ):
            train(base, data, out=interrupted, **GIVEN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in stage.iterdir()] == ["checkpoint-2"]
    assert train(base, data, out=interrupted, **GIVEN).notes == ("adapter was interrupted, and went on from step 2",)


def test_how_often_is_saved_if_nothing_is_said():
    assert [save_every(None, n) for n in (99, 100, 305, 50_000)] == [0, 10, 31, 500]
    assert [save_every(n, 10) for n in (0, 3)] == [0, 3]
