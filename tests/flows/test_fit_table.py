"""`despur fit` and `despur apply`: any table, its figures beside a permuted one's, and what cannot be read refused in a sentence."""

import pickle

import numpy as np
import pandas as pd
import pytest
from tables import D, long, wide

from despur.core.errors import BadInput, DespurError
from despur.flows import fit
from despur.flows._fit.held_out import permuted
from despur.flows._fit.matrix import Layout
from despur.flows._fit.pivot import read_matrix

LONG = {"rows": ["run"], "cols": ["prompt"], "value": "drift", "groups": "seed"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    long(wide()).to_csv(folder / "long.csv", index=False)
    long(wide()).to_parquet(folder / "long.parquet", index=False)
    wide().to_csv(folder / "wide.csv", index=False)
    np.save(folder / "plain.npy", wide()[[f"p{j}" for j in range(D)]].to_numpy())
    fit("factor-analysis", folder / "long.parquet", **LONG, out=folder / "fitted")
    return folder


@pytest.mark.slow  # of a kind with faster ones
def test_a_hidden_coordinate_is_seen_and_a_permuted_table_shows_none(place, tmp_path):
    result = fit("factor-analysis", place / "wide.csv", rows=["run"], groups="seed", out=tmp_path / "o")
    explained = result.reports["explained"]
    assert result.verdict == "beats its control"
    assert explained.low > 0.6 > 0.2 > explained.control
    assert explained.n == 8, "seeds are held out whole"
    assert result.reports["log-likelihood"].value > result.reports["log-likelihood"].control
    assert set(result.by_rank) == set(range(1, D))
    cells = permuted(wide()[[f"p{j}" for j in range(D)]].to_numpy(), 3)
    pd.DataFrame(cells).to_csv(tmp_path / "permuted.csv", index=False)
    control = fit("factor-analysis", tmp_path / "permuted.csv", out=tmp_path / "c")
    assert control.verdict == "no better than a permuted table"
    assert control.reports["explained"].value < 0.2


def test_long_and_wide_parquet_csv_and_npy_are_one_table(place):
    whole = wide()[[f"p{j}" for j in range(D)]].to_numpy()
    layout = Layout(("run",), ("prompt",), "drift")
    for name in ("long.csv", "long.parquet"):
        matrix = read_matrix(place / name, layout)
        rows = [int(name.removeprefix("run ")) for name in matrix.keys["run"]]
        columns = [int(name.removeprefix("p")) for name in matrix.columns]
        assert np.array_equal(matrix.values, whole[np.ix_(rows, columns)], equal_nan=True)
    assert np.array_equal(read_matrix(place / "plain.npy", Layout()).values, whole, equal_nan=True)
    assert read_matrix(place / "wide.csv", Layout(("run",), groups="seed")).names[3] == "run 3"


def test_the_folder_has_no_pickle_and_its_page_loads_nothing(place):
    names = {p.name for p in (place / "fitted").iterdir()}
    assert names == {
        "despur.json",
        "fit.json",
        "fitted.json",
        "fitted.safetensors",
        "report.html",
        "report.json",
        "run.json",
    }
    page = (place / "fitted/report.html").read_text(encoding="utf-8")
    assert {"Loadings", "Explained share by rank", "What the fit makes of it"} <= set(page.replace("<", ">").split(">"))
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_several_values_of_a_cell_are_refused_unless_it_is_said_what_they_make(tmp_path):
    lines = pd.DataFrame({"run": list("aabbccdd") * 2, "prompt": list("xy") * 8, "v": np.arange(16.0)})
    lines.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        BadInput, match=r"row 'a' has 2 values in column 'x' \(lines 1 and 9 of the table\), and 7 other cells"
    ):
        read_matrix(tmp_path / "t.csv", Layout(("run",), ("prompt",), "v"))
    mean, last = (read_matrix(tmp_path / "t.csv", Layout(("run",), ("prompt",), "v", how)) for how in ("mean", "last"))
    assert (mean.values[0, 0], last.values[0, 0], mean.merged) == (4.0, 8.0, 8)
    part = read_matrix(tmp_path / "t.csv", Layout(("run",), ("prompt",), "v", "last", {"run": "b"}))
    assert part.values.tolist() == [[10.0, 11.0]]


def test_two_columns_name_a_row_together_and_lines_without_a_name_are_counted(tmp_path):
    lines = pd.DataFrame(
        {"g": ["a", "a", "b", None, "b"], "s": [1.0, 2, 1, 1, np.nan], "c": list("xxxxx"), "v": [1.0, 2, 3, 4, 5]}
    )
    lines.to_parquet(tmp_path / "t.parquet")
    matrix = read_matrix(tmp_path / "t.parquet", Layout(("g", "s"), ("c",), "v"))
    assert matrix.names == ["a / 1", "a / 2", "b / 1"]
    assert (matrix.values[:, 0].tolist(), matrix.left_out) == ([1.0, 2.0, 3.0], 2)


def spoiled(text: str, **more: object):
    return lambda folder: ((folder / "t.csv").write_text(text), {"table": "t.csv", **more})[1]


ROW, AS_LONG = "run,prompt,v\n", {"rows": ["run"], "cols": ["prompt"], "value": "v"}
BAD = {
    "no-file": (lambda f: {"table": "none.csv"}, "no file .*none.csv'. Give a table"),
    "kind": (lambda f: {"table": "t.xlsx"}, "none of .parquet, .csv, .tsv, .npy"),
    "empty file": (spoiled(""), "no readable csv: Empty CSV file"),
    "no rows": (spoiled(ROW, rows=["run"]), "has columns and no rows"),
    "column": (spoiled(ROW + "a,x,1\n", rows=["run"], cols=["promt"], value="v"), "no column 'promt' for --cols; nearest: 'prompt'"),
    "value": (spoiled(ROW + "a,x,1\n", rows=["run"], cols=["prompt"], value="w"), "no column 'w' for --value.* There are: run, prompt, v"),
    "text": (spoiled(ROW + "a,x,1\na,y,high\n", **AS_LONG), "row 2 has 'high' in column 'v', which is no number"),
    "text late": (spoiled("a,b\n" + "1,2\n" * 200_000 + "1,x\n"), "row 200001 has 'x' in column 'b'"),
    "infinite": (spoiled("a,b\n1,2\n3,inf\n"), "row 2 has inf in column 'b'"),
    "ragged": (spoiled("a,b\n1,2\n3\n"), "no readable csv: CSV parse error: .*Expected 2 columns, got 1"),
    "twice": (spoiled("a,a\n1,2\n"), "two columns 'a'"),
    "empty column": (spoiled("a,b\n1,\n2,\n3,\n4,\n"), "column 'b' has no value at all"),
    "empty row": (spoiled("a,b\n1,2\n,\n3,4\n5,6\n"), "row '2' has no value at all"),
    "few": (spoiled("a,b\n1,2\n3,4\n"), "2 rows by 2 columns; 4 rows and 2 columns are the least"),
    "where": (spoiled("a,b,c\n1,2,u\n", where={"c": "v"}), "no line has c 'v'.* There are: u"),
    "half a layout": (spoiled(ROW + "a,x,1\n", cols=["prompt"]), "--cols says that the table is long"),
    "mixed groups": (spoiled("run,prompt,v,g\na,x,1,1\na,y,1,2\n", **AS_LONG, groups="g"), "row 'a' has several values of 'g'"),
    "rank": (spoiled("a,b\n1,2\n2,1\n3,4\n5,7\n", options={"rank": "9"}), "rank=9 of a table with n_samples=4"),
    "option": (spoiled("a,b\n1,2\n2,1\n3,4\n5,7\n", options={"rang": "1"}), "takes no option 'rang'; nearest: 'rank'"),
    "parquet": (lambda f: ((f / "t.parquet").write_bytes(b"no parquet at all"), {"table": "t.parquet"})[1], "no readable parquet"),
    "pickle": (lambda f: ((f / "t.npy").write_bytes(pickle.dumps([1])), {"table": "t.npy"})[1], "no array of numbers"),
    "tensor": (lambda f: (np.save(f / "t.npy", np.zeros((2, 2, 2))), {"table": "t.npy"})[1], r"shape \(2, 2, 2\)"),
    "estimator": (spoiled("a,b\n", method="factor-analisis"), "no estimator 'factor-analisis'; nearest: 'factor-analysis'"),
    "contract": (spoiled("a,b\n", method="grasp"), "grasp is a guard method that gives edit, no estimator"),
    "holes": (spoiled("a,b\n1,2\n2,1\n,4\n5,7\n", method="difference-pca"), "1 of 8 cells are empty, and difference-pca takes none"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_fitted_is_refused_in_a_sentence_and_nothing_is_written(case, tmp_path):
    make, says = BAD[case]
    given = {"method": "factor-analysis", **make(tmp_path)}
    with pytest.raises(DespurError, match=says) as caught:
        fit(**{**given, "table": tmp_path / given["table"]}, out=tmp_path / "o")
    assert "\n" not in str(caught.value)
    assert not [p for p in tmp_path.iterdir() if p.name not in {"t.csv", "t.parquet", "t.npy"}]


def test_lists_in_place_of_numbers_and_too_many_cells_are_refused(tmp_path):
    pd.DataFrame({"r": ["a"], "c": ["x"], "v": [[1.0, 2.0]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="column 'v' has values of type list<.*>; one number a row"):
        read_matrix(tmp_path / "t.parquet", Layout(("r",), ("c",), "v"))
    many = np.arange(20_000)
    pd.DataFrame({"r": many, "c": many, "v": 1.0 * many}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="20,000 rows by 20,000 columns, more than 100,000,000 cells"):
        read_matrix(tmp_path / "t.parquet", Layout(("r",), ("c",), "v"))


def test_a_full_disk_leaves_nothing(place, tmp_path, monkeypatch):
    import errno

    import despur.flows._fit.fit as module

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(BadInput, match="No space left on device. Nothing of it was left behind"):
        fit("factor-analysis", place / "wide.csv", rows=["run"], groups="seed", out=tmp_path / "o", folds=0)
    assert not list(tmp_path.iterdir())


def test_a_fit_that_does_not_settle_says_so_once(place, tmp_path):
    result = fit(
        "factor-analysis",
        place / "wide.csv",
        rows=["run"],
        groups="seed",
        options={"max_iter": "2"},
        out=tmp_path / "o",
    )
    assert result.notes == ("EM did not settle in 2 rounds; raise max_iter",)
    assert "Not settled" in (tmp_path / "o/report.html").read_text(encoding="utf-8")
    assert (
        fit("factor-analysis", place / "wide.csv", rows=["run"], groups="seed", folds=0, out=tmp_path / "p").notes == ()
    )
