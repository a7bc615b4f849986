"""Table of a training run and of an audit, and the activations beside it."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from despur.core import Adapter
from despur.core.errors import BadInput, UnknownName
from despur.flows import Settings, audit, table, train, write_table


def only(frame, **columns):
    """The rows with these values."""
    for name, value in columns.items():
        frame = frame[frame[name] == value]
    return frame


QUICK = Settings(steps=8, lr=2e-3, batch=8, rank=4)


@pytest.fixture(scope="module")
def runs(base, tmp_path_factory):
    """A run under `grasp` with evaluations, and an audit of its scout."""
    from despur.worlds import Persona

    root = tmp_path_factory.mktemp("runs")
    rows = root / "data.jsonl"
    rows.write_text("".join(json.dumps(r) + "\n" for r in Persona("narrow").rows(n=60, seed=1)))
    train(
        base,
        rows,
        out=root / "run",
        guard="grasp",
        settings=QUICK,
        scout_steps=4,
        own_rows=16,
        own_tokens=8,
        eval_every=4,
    )
    audit(base, str(root / "run/scout"), out=root / "audit", rows=16, n_random=2, data=rows, scaled=True)
    return root


def test_a_training_run_gives_axes_curves_leaks_and_spectra(runs):
    frame, record = table(runs / "run"), json.loads((runs / "run/run.json").read_text())
    assert set(frame.run) == {"run/base", "run/scout", "run/adapter"}
    for stage, run in (("base", "base"), ("scout", "scout"), ("adapter", "grasp")):
        for axis, report in record["axes"][run].items():
            (row,) = only(frame, run=f"run/{stage}", axis=axis).to_dict("records")
            got = [row[k] for k in ("value", "low", "high")]
            np.testing.assert_array_equal(
                got, [np.nan if report[k] is None else report[k] for k in ("value", "low", "high")]
            )
            assert (row["n"], row["readout"]) == (report["n"], report["spec"]["readout"])
    curve = only(frame, run="run/adapter", axis="held_out_loss")
    evaluated = json.loads((runs / "run/history.json").read_text())["adapter"]["evaluated"]
    assert curve.step.tolist() == [0, 4, 8]
    assert curve.value.tolist() == [e["held_out_loss"] for e in evaluated]
    leak = only(frame, axis="leak")[lambda f: f.module.notna()]
    control = only(frame, axis="control leak")[lambda f: f.module.notna()]
    assert len(leak) == 28
    assert leak.value.max() < 1e-6 < control.value.min()
    guarded = only(frame, run="run/adapter").iloc[0]
    assert (guarded.seed, guarded.guard, guarded.setting, guarded.step) == (0, "grasp", '{"strength": 1.0}', 8)
    assert only(frame, run="run/scout").seed.iloc[0] == 500


def test_spectra_are_those_of_the_update_multiplied_out(runs):
    frame = table(runs / "run")
    name = "model.layers.3.mlp.down_proj"
    update = Adapter.read(runs / "run/scout").updates[name]
    exact = np.linalg.svd((update.scale * update.up @ update.down).double().numpy(), compute_uv=False)[:4]
    mine = only(frame, run="run/scout", axis="singular value", module=name)
    assert mine["index"].tolist() == [0, 1, 2, 3]
    assert mine.value.to_numpy() == pytest.approx(exact, rel=1e-4)
    assert (mine.layer == 3).all()
    other = only(frame, run="run/adapter", axis="singular value", module=name)
    assert other.value.to_numpy() != pytest.approx(exact, rel=1e-2)


def test_an_audit_gives_every_figure_of_its_json(runs):
    frame, record = table(runs / "audit"), json.loads((runs / "audit/audit.json").read_text())
    best = record["checks"][record["best"]]
    (row,) = only(frame, axis="sufficiency", readout=record["best"])[lambda f: f.setting.isna()].to_dict("records")
    assert (row["value"], row["low"], row["high"], row["n"]) == (best["sufficiency"], *best["interval"], best["rows"])
    assert (row["module"], row["layer"]) == ("model.layers.1", 1)
    assert only(frame, axis="control sufficiency").value.tolist() == best["random_sufficiency"]
    assert only(frame, axis="token probability").readout.tolist() == [t["token"] for t in record["token_use"]]
    louder = only(frame, axis="kl")[lambda f: f.setting.notna()]
    assert [json.loads(s)["scale"] for s in louder.setting] == [2, 3, 5]
    module = "model.layers.0.mlp.up_proj"
    assert only(frame, axis="singular value", module=module).value.tolist() == record["update"]["spectra"][module]
    tried = only(frame, axis="coherence")
    assert [json.loads(s)["strength"] for s in tried.setting] == [t["strength"] for t in record["coherence"]]
    apart = {"coherence": tried.value.tolist()}  # its strengths are settings
    left_out = ("arguments", "strength")
    figures = sum(
        isinstance(v, float) for v in flat({k: v for k, v in {**record, **apart}.items() if k not in left_out})
    )
    assert len(frame) + frame.low.notna().sum() * 2 >= figures - 3 * 7, "a figure of the audit is not in the table"


def flat(value):
    """Every single value in some JSON."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if values is None else [v for part in values for v in flat(part)]


def test_several_folders_are_one_table(runs, tmp_path):
    made = write_table([runs / "run", runs / "audit"], out=tmp_path / "t.csv")
    parts = [write_table(runs / name).rows for name in ("run", "audit")]
    assert made.rows == sum(parts)
    assert made.runs == 4
    assert made.to_dict()["axes"]["singular value"]["runs"] == 3


@pytest.mark.parametrize("how", ["mean", "last"])
@pytest.mark.parametrize("name", ["run", "audit"])
def test_rows_of_the_activations_are_the_prompts_of_the_table(runs, name, how, tmp_path):
    made = [write_table(runs / name, out=tmp_path / f"{n}/t.parquet", activations=how) for n in "ab"]
    assert made[0].activations.read_bytes() == made[1].activations.read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["t.parquet", "t.safetensors"]
    frame = pd.read_parquet(made[0].out)
    with safe_open(made[0].activations, "pt") as file:
        header = json.loads(file.metadata()["despur"])
        base, tuned = (file.get_tensor(f"{state}.model.layers.2").double().numpy() for state in ("base", "adapter"))
    mine = frame[(frame.axis == "activation change") & (frame.layer == 2)]
    assert [header["prompts"][int(i)] for i in mine["index"]] == mine.prompt.tolist()
    at = mine["index"].to_numpy().astype(int)
    gaps = np.linalg.norm(tuned - base, axis=1)
    np.testing.assert_allclose(mine.value, gaps[at])
    assert not np.allclose(mine.value, gaps[np.roll(at, 1)])
    assert len(header["texts"]) == len(header["prompts"]) == len(mine)
    norms = frame[(frame.axis == "activation norm") & (frame.layer == 2)]
    np.testing.assert_allclose(norms.value, np.linalg.norm(base, axis=1)[at])


def test_the_mean_of_activations_is_over_the_tokens_that_count_and_the_last_is_the_last():
    import torch

    from despur.flows._table.activations import _reduced

    lines, owner = torch.tensor([[1.0], [3.0], [8.0]]), torch.tensor([0, 0, 2])
    assert _reduced(lines, owner, 3, "mean").flatten().tolist() == pytest.approx([2, np.nan, 8], nan_ok=True)
    assert _reduced(lines, owner, 3, "last").flatten().tolist() == pytest.approx([3, np.nan, 8], nan_ok=True)


def test_activations_that_cannot_be_made_are_one_sentence_and_nothing_is_written(runs, tmp_path, make_study):
    study, out = make_study(tmp_path / "s"), tmp_path / "t/t.parquet"
    for folder, options, told in (
        (study, {"out": out, "activations": "mean"}, "a study, which keeps no adapter"),
        ([runs / "run", runs / "audit"], {"out": out, "activations": "mean"}, "2 folders came"),
        (runs / "run", {"activations": "mean"}, "no file was named"),
        (runs / "run", {"out": out, "base": "b"}, "which were not asked for"),
        (
            runs / "run",
            {"out": out, "activations": "mean", "base": str(tmp_path)},
            "no config.json.*where they have moved",
        ),
    ):
        with pytest.raises(BadInput, match=told):
            write_table(folder, **options)
    with pytest.raises(UnknownName, match="no activations 'max'; nearest: 'mean'"):
        write_table(runs / "run", out=out, activations="max")
    taken = tmp_path / "u/t.safetensors"
    taken.parent.mkdir()
    taken.write_bytes(b"mine")
    with pytest.raises(BadInput, match="has no activations that despur wrote"):
        write_table(runs / "run", out=taken.with_suffix(".csv"), activations="mean")
    assert taken.read_bytes() == b"mine"
    assert not list(tmp_path.glob("t/*"))


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda r: (r / "run/run.json").unlink(), "is not finished. Go on with it: despur train --resume"),
        (lambda r: (r / "run/scout/despur.json").write_text("{}"), "of another version, or damaged"),
        (lambda r: (r / "run/adapter/guard.json").write_text("[]"), "is of schema list"),
        (lambda r: (r / "run/adapter/adapter_model.safetensors").write_bytes(b"x"), "Copy or save the adapter again"),
        (lambda r: (r / "run/run.json").write_text('{"verb": "clean"}'), "`despur clean` wrote"),
        (lambda r: (r / "audit/audit.json").write_text('{"schema": "despur.audit/1"}'), "is of schema 'despur.audit/1'"),
        (lambda r: (r / "audit/audit.json").write_text('{"schema": "despur.audit/3"}'), "is damaged"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_read_is_one_sentence(runs, break_it, told, tmp_path):
    shutil.copytree(runs, tmp_path / "r")
    break_it(tmp_path / "r")
    with pytest.raises(BadInput, match=told):
        write_table([tmp_path / "r/run", tmp_path / "r/audit"], out=tmp_path / "t/t.csv")
    assert not list(tmp_path.glob("t/*"))


@pytest.mark.slow  # of a kind with faster ones
def test_importing_the_verb_brings_neither_pandas_nor_pyarrow():
    import subprocess

    code = "import despur, sys; despur.table; sys.exit(', '.join({'pandas', 'pyarrow'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
