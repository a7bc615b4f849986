"""`despur apply`: scores of another table; a folder that was changed and a table of other columns are refused in a sentence."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from tables import D, long, wide

from despur.core.errors import BadInput, UnknownName
from despur.flows import apply, fit


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    long(wide()).to_csv(folder / "long.csv", index=False)
    wide().to_csv(folder / "wide.csv", index=False)
    fit(
        "factor-analysis",
        folder / "long.csv",
        rows=["run"],
        cols=["prompt"],
        value="drift",
        folds=0,
        out=folder / "fitted",
    )
    return folder


def test_scores_of_another_table_are_those_of_the_fit_whatever_the_order_of_its_columns(place, tmp_path):
    apply(place / "fitted", place / "long.csv", out=tmp_path / "a.csv")
    wide().sample(frac=1.0, axis=1, random_state=1).drop(columns="seed").to_csv(tmp_path / "w.csv", index=False)
    fit("factor-analysis", place / "wide.csv", rows=["run"], groups="seed", out=tmp_path / "o", folds=0)
    apply(tmp_path / "o", tmp_path / "w.csv", out=tmp_path / "b.parquet")
    a, b = pd.read_csv(tmp_path / "a.csv").set_index("run"), pd.read_parquet(tmp_path / "b.parquet").set_index("run")
    assert a.loc[b.index]["factor-analysis 1"].to_numpy() == pytest.approx(b["factor-analysis 1"].to_numpy(), abs=1e-4)
    assert abs(np.corrcoef(b["factor-analysis 1"], wide()["p0"].fillna(1))[0, 1]) > 0.8


def test_a_finder_can_be_fitted_and_applied_too(place, tmp_path):
    table = wide(missing=0.0)
    table.to_csv(tmp_path / "t.csv", index=False)
    result = fit(
        "difference-pca", tmp_path / "t.csv", rows=["run"], groups="seed", options={"rank": "2"}, out=tmp_path / "o"
    )
    assert result.reports["explained"].spec["cells"] == "of held-out rows"
    scores = apply(tmp_path / "o", tmp_path / "t.csv", out=tmp_path / "s.csv").scores
    told = result.estimator.transform(table[[f"p{j}" for j in range(D)]].to_numpy())
    assert np.array_equal(np.stack(list(scores.values()), axis=1), told)


def edited(folder, change) -> None:
    about = json.loads((folder / "fitted.json").read_text())
    change(about)
    (folder / "fitted.json").write_text(json.dumps(about))


def numbers(folder, change) -> None:
    arrays = load_file(folder / "fitted.safetensors")
    save_file(change(arrays), folder / "fitted.safetensors")


SPOILED = {
    "another shape": (lambda f: numbers(f, lambda a: {**a, "components_": a["components_"][:, :3].copy()}),
                      r"\(1, 3\) for components_.*describes float64 \(1, 6\)"),
    "nan": (lambda f: numbers(f, lambda a: {**a, "mean_": a["mean_"] * np.nan}), "NaN or Inf in mean_"),
    "other numbers": (lambda f: numbers(f, lambda a: {**a, "mean_": a["mean_"] + 1}), "was changed after the fit"),
    "option": (lambda f: edited(f, lambda a: a["options"].update(rank=2)), "was changed after the fit"),
    "columns": (lambda f: edited(f, lambda a: a["note"]["columns"].reverse()), "was changed after the fit"),
    "method": (lambda f: edited(f, lambda a: a.update(method="difference-pca")), "was changed after the fit"),
    "schema": (lambda f: (f / "fitted.json").write_text("[]"), "describes no fitted estimator"),
    "no json": (lambda f: (f / "fitted.json").write_text("{"), "is not readable JSON"),
    "no numbers": (lambda f: (f / "fitted.safetensors").write_bytes(b"x"), "cannot read .*fitted.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILED)
def test_a_folder_that_was_changed_is_refused(case, place, tmp_path):
    import shutil

    spoil, says = SPOILED[case]
    shutil.copytree(place / "fitted", tmp_path / "f")
    spoil(tmp_path / "f")
    with pytest.raises(BadInput, match=says):
        apply(tmp_path / "f", place / "long.csv", out=tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


def test_a_table_with_other_columns_is_refused_by_their_names(place, tmp_path):
    table = long(wide())
    table[table.prompt != "p3"].to_csv(tmp_path / "less.csv", index=False)
    table.assign(prompt=table.prompt.replace("p3", "q3")).to_csv(tmp_path / "other.csv", index=False)
    pd.concat([table, table[table.prompt == "p3"].assign(prompt="p9")]).to_csv(tmp_path / "more.csv", index=False)
    for name, says in (("less", "lacks column 'p3'"), ("other", "lacks column 'p3'"), ("more", "also has column 'p9'")):
        with pytest.raises(BadInput, match=f"{name}.csv' {says}; the fit was of 6 columns"):
            apply(place / "fitted", tmp_path / f"{name}.csv", out=tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text("mine")
    with pytest.raises(BadInput, match="is there already"):
        apply(place / "fitted", place / "long.csv", out=tmp_path / "s.csv")
    with pytest.raises(UnknownName, match="no line has axis 'drif'; nearest: 'drift'"):
        apply(place / "fitted", place / "long.csv", value="drif", out=tmp_path / "t.csv")
