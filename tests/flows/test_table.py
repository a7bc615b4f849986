"""Table: every figure that runs left behind, once, under the run, prompt and module that it is of; what is missing stays missing."""

import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import despur
from despur.core.errors import BadInput, MissingExtra
from despur.flows import table, write_table
from despur.flows._table.columns import CHUNK, COLUMNS, SCHEMA, batches_of
from despur.flows._table.source import short_names

COMMITTED = Path(__file__).parents[2] / "benchmarks/study"


def only(frame, **columns):
    """The rows with these values."""
    for name, value in columns.items():
        frame = frame[frame[name] == value]
    return frame


# The committed study


@pytest.fixture(scope="module")
def committed():
    return despur.table(COMMITTED)


def test_the_columns_of_the_committed_study_are_those_of_the_page(committed):
    assert list(committed) == list(COLUMNS)
    page = (Path(__file__).parents[2] / "docs/table.md").read_text()
    rows = [line.split("|")[1] for line in page.split("## Axes")[0].splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in row.replace("`", "").replace(",", " ").split()] == list(COLUMNS)
    assert SCHEMA in page
    assert committed.attrs["schema"] == SCHEMA
    kinds = {name: str(kind) for name, kind in committed.dtypes.items()}
    assert {kinds[n] for n in ("run", "base", "guard", "setting", "module", "prompt", "axis", "readout", "half")} == {
        "category"
    }
    assert {kinds[n] for n in ("seed", "step", "layer", "n", "index")} == {"Int64"}
    assert {kinds[n] for n in ("value", "low", "high")} == {"float64"}


def test_every_value_of_the_committed_study_is_in_it_once(committed):
    lines = pq.read_table(COMMITTED / "prompts.parquet").to_pylist()
    scores = committed[committed.prompt.notna()]
    assert len(scores) == sum(len(r["values"]) for r in lines)
    assert not scores.duplicated(["run", "prompt"]).any()
    line = next(r for r in lines if (r["world"], r["guard"], r["seed"], r["axis"]) == ("slant", "naive", 12, "drift"))
    mine = only(scores, base="slant", guard="naive", seed=12, axis="drift")
    assert mine.value.tolist() == [float(v) for v in line["values"]]
    assert mine.prompt.iloc[17] == "slant/drift/0017"
    assert list(mine.half.iloc[:3]) == ["validation", "report", "validation"]


def test_prompts_and_means_of_the_committed_study_agree_and_other_halves_do_not(committed):
    for half, other in (("report", "validation"), ("validation", "report")):
        means = only(committed, axis="mean drift", half=half).set_index("run").value
        by_run = only(committed, axis="drift", half=half).groupby("run", observed=True).value.mean()
        assert means.index.is_unique
        assert (by_run[means.index] - means).abs().max() < 0.01  # half precision
        wrong = only(committed, axis="drift", half=other).groupby("run", observed=True).value.mean()
        assert (wrong[means.index] - means).abs().max() > 0.1


def test_prompts_have_one_name_in_all_runs_so_that_runs_by_prompt_is_a_full_matrix(committed):
    drift = committed[(committed.axis == "drift") & (committed.base == "persona")]
    matrix = drift.pivot(index="run", columns="prompt", values="value")
    assert matrix.shape == (818, 160)
    assert not matrix.isna().any(axis=None)
    shuffled = drift.assign(
        prompt=drift["prompt"].astype(str) + drift["seed"].astype(str)
    )  # names that change with the seed
    assert shuffled.pivot(index="run", columns="prompt", values="value").isna().mean(axis=None) > 0.8


def test_tests_after_training_are_under_their_seed_and_step(committed):
    record = json.loads((COMMITTED / "results.json").read_text())["after"]["persona"]["avert"][1]
    mine = only(committed, axis="release drift", base="persona", guard="avert", seed=11)
    assert mine.step.tolist() == record["release"]["steps"]
    assert mine.value.tolist() == [p[1] for p in record["release"]["points"]]


# A study that is made here


def test_a_run_that_is_missing_keeps_its_means_without_values(tmp_path, make_study):
    whole, part = make_study(tmp_path / "a/s"), make_study(tmp_path / "b/s", failed=[("mine", 0, 11)])
    assert not write_table(whole).notes
    assert not table(whole).value.isna().any()
    frame = table(part)
    lost = frame[frame.value.isna()]
    assert set(lost.run) == {"s/w/mine/strength-0.1/11"}
    assert sorted(zip(lost.axis, lost.half, strict=True)) == sorted(
        (axis, half) for axis in ("mean drift", "mean drift_margin") for half in ("validation", "report")
    )
    assert (lost.n == 0).all()
    (note,) = write_table(part).notes
    assert note.startswith(
        "1 of 7 planned runs are missing"
    )  # 1 of 4 on the tuning seed is no report run: it was outdone


def test_what_is_not_finite_stays_as_missing(tmp_path, make_study):
    frame = table(make_study(tmp_path / "s", values=[0.0, np.nan, np.inf, 2.0, 0.0, 1.0]))
    first = frame[frame.prompt.notna()].head(6)
    assert first.value.isna().tolist() == [False, True, True, False, False, False]
    assert first.value.iloc[0] == 0.0


@pytest.mark.parametrize("kind", [".parquet", ".csv"])
def test_the_same_folder_gives_the_same_bytes_and_the_file_is_the_frame(kind, tmp_path, make_study):
    study = make_study(tmp_path / "s", failed=[("mine", 1, 0)])
    files = [tmp_path / f"{n}/t{kind}" for n in "ab"]
    for file in files:
        write_table(study, out=file)
        assert [p.name for p in file.parent.iterdir()] == [file.name]
    assert files[0].read_bytes() == files[1].read_bytes()
    frame = table(study)
    read = pd.read_parquet(files[0]) if kind == ".parquet" else pd.read_csv(files[0])
    assert list(read) == list(frame)
    for name in frame:
        assert read[name].isna().tolist() == frame[name].isna().tolist(), name
        assert read[name].dropna().tolist() == frame[name].dropna().tolist(), name
    if kind == ".parquet":
        assert pq.read_schema(files[0]).metadata[b"schema"] == SCHEMA.encode()


def test_many_prompts_come_in_parts_that_are_bounded(tmp_path, make_study):
    from despur.flows._table.source import Source
    from despur.flows.progress import silent

    study = make_study(tmp_path / "s", prompts=CHUNK // 3 + 1)
    sizes = [batch.num_rows for batch in Source(study, "s").batches(silent)]
    assert max(sizes) <= CHUNK
    assert sum(sizes) == len(table(study)) > 2 * CHUNK
    prompt = table(study).query("axis == 'drift'").groupby("run", observed=True).prompt
    assert (prompt.nunique() == CHUNK // 3 + 1).all()


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda s: shutil.rmtree(s), "no folder"),
        (lambda s: [p.unlink() for p in s.iterdir()], "despur did not write"),
        (lambda s: (s / "results.json").unlink(), "was not judged yet. Judge what is there: despur report"),
        (lambda s: (s / "results.json").write_text("{"), "is not readable JSON"),
        (lambda s: (s / "results.json").write_text("[]"), "of another version, or damaged"),
        (lambda s: (s / "results.json").write_text('{"plan": {}}'), "of another version, or damaged"),
        (lambda s: (s / "prompts.parquet").write_bytes(b"PAR1 no more"), "is not readable parquet"),
        (lambda s: drop(s / "prompts.parquet", "readout"), "no column 'readout'"),
        (lambda s: drop(s / "results.parquet", "seconds"), "no column 'seconds'"),
        (lambda s: pq.write_table(pa.Table.from_pylist([]), s / "results.parquet"), "has no finished run"),
        (lambda s: retype(s / "prompts.parquet", "values"), "where lists are needed"),
        (lambda s: retype(s / "results.parquet", "mean"), "has a figure that is none"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_read_is_one_sentence_and_nothing_is_written(break_it, told, tmp_path, make_study):
    study = make_study(tmp_path / "s")
    break_it(study)
    with pytest.raises(BadInput, match=told):
        write_table(study, out=tmp_path / "t/t.parquet")
    assert not list(tmp_path.glob("t/*")), "half of a table"


def drop(path, column):
    pq.write_table(pq.read_table(path).drop_columns([column]), path)


def retype(path, column):
    """Text where figures belong."""
    read = pq.read_table(path)
    at = read.column_names.index(column)
    pq.write_table(read.set_column(at, column, pa.array(["x"] * len(read))), path)


@contextmanager
def files_limited_to(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", [".parquet", ".csv"])
def test_a_full_disk_leaves_the_old_table(kind, tmp_path, make_study):
    study, out = make_study(tmp_path / "s"), tmp_path / f"t/t{kind}"
    write_table(study, out=out)
    old = out.read_bytes()
    large = make_study(tmp_path / "l/s", values=np.random.default_rng(0).normal(size=5000))
    with (
        files_limited_to(8192),
        pytest.raises(BadInput, match="failed: .*Nothing of it was left behind; free some room"),
    ):
        write_table(large, out=out)
    assert out.read_bytes() == old
    assert list(out.parent.iterdir()) == [out]


def test_only_tables_are_replaced_and_only_known_kinds_written(tmp_path, make_study):
    study = make_study(tmp_path / "s")
    mine = tmp_path / "mine.csv"
    mine.write_text("a,b\n1,2\n")
    for out, told in ((mine, "is there and is no table"), (study / "prompts.parquet", "is there and is no table"),
                      (tmp_path / "t.txt", "written as .parquet or .csv")):  # fmt: skip
        with pytest.raises(BadInput, match=told):
            write_table(study, out=out)
    assert mine.read_text() == "a,b\n1,2\n"
    with pytest.raises(BadInput, match="is a file, where a folder is needed"):
        table(mine)
    with pytest.raises(BadInput, match="is given twice"):
        table([study, study / "../s"])
    with pytest.raises(BadInput, match="no folder was given"):
        table([])


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_missing_extra_is_named(package, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else object())
    with pytest.raises(MissingExtra, match=rf"needs {package}.*pip install 'despur\[table\]'"):
        table(tmp_path)


def test_folders_have_the_shortest_names_that_tell_them_apart():
    assert short_names([Path("/x/audit"), Path("/x/run")]) == ["audit", "run"]
    assert short_names([Path("/a/x/audit"), Path("/b/x/audit")]) == ["a/x/audit", "b/x/audit"]


def test_a_column_that_is_none_is_a_bug():
    with pytest.raises(ValueError, match="no column valu"):
        list(batches_of([{"valu": 1.0}]))
