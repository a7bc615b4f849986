import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

STUDY = Path(__file__).parents[2] / "benchmarks/study"


@pytest.fixture
def part(tmp_path):
    """Base and naive run of the committed study; all its other runs are missing."""
    folder = tmp_path / "part"
    folder.mkdir()
    shutil.copy(STUDY / "results.json", folder)
    for name in ("results.parquet", "prompts.parquet"):
        whole = pq.read_table(STUDY / name)
        pq.write_table(whole.filter(pc.is_in(whole["guard"], pc.pa.array(["base", "naive"]))), folder / name)
    return folder


def test_a_table_says_what_it_has_and_what_comes_next(despur, part, tmp_path):
    out = tmp_path / "out/traces.parquet"
    done = despur("table", str(part), "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert "rows of 2,542 runs, " in done.stdout
    assert "of them without a value" in done.stdout
    assert "Note: 2482 of 2542 planned runs are missing, part/persona/avert/strength-0.1/0 among them" in done.stdout
    assert f"Table: {out}" in done.stdout
    assert f"despur fit NAME {out} --rows run --cols prompt --value drift" in done.stdout
    assert [p.name for p in out.parent.iterdir()] == ["traces.parquet"]


def test_without_a_file_rows_are_counted(despur, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = despur("table", "part", "--json")
    said = json.loads(done.stdout)
    assert said["out"] is None
    assert said["axes"]["drift"] == {"rows": 9600, "missing": 0, "runs": 60, "prompts": 480, "modules": 0}
    assert [p.name for p in tmp_path.iterdir()] == ["part"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["nowhere"], "no folder 'nowhere'"), ([__file__], "is a file, where a folder is needed"),
        ([str(STUDY), "-o", "t.xlsx"], "written as .parquet or .csv"), 
        ([str(STUDY), "--activations", "max", "-o", "t.csv"], "nearest: 'mean'"),
        ([str(Path(__file__).parent)], "despur did not write"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_or_written_is_told_in_a_line(despur, tmp_path, monkeypatch, asked, told):
    monkeypatch.chdir(tmp_path)
    done = despur("table", *asked)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
