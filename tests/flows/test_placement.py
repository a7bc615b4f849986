"""A model is put where and as it was asked; what is not there is one sentence; precision is recorded, the device is not."""

import json
from contextlib import nullcontext

import pytest
import torch
from work_folder import write_work

from despur.core import fingerprint, read_json
from despur.core.errors import BadInput
from despur.flows import Certificate, Placement, Settings, audit, calibrate, clean, compare, table, train, verify
from despur.flows._compare.bench import Bench
from despur.flows._compare.cell import Cell, run_cell
from despur.flows.load import load_base
from despur.worlds import Persona, persona_base

SMALL = {"rows": 16, "tokens": 4, "n_random": 2}
CPU = Placement("cpu")


class Moved(Exception):
    """A model would be moved to the device that was asked for."""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = write_work(tmp_path_factory.mktemp("work"))
    probe = {"axis": "drift", "prompt": "d5", "good": "d6", "bad": "d7"}
    (folder / "probes.jsonl").write_text(4 * (json.dumps(probe) + "\n"))
    return folder


@pytest.fixture(scope="module")
def audited(work):
    """An audit as it is without any option."""
    return audit(str(work / "base"), str(work / "adapter"), out=work / "audit", **SMALL)


@pytest.fixture
def asked(monkeypatch):
    """Placing a model on the CPU by name raises; everywhere else it is placed as always."""

    def target(self):
        if self.device == "cpu":
            raise Moved
        return None

    monkeypatch.setattr(Placement, "target", target)


def test_weights_have_the_precision_that_was_asked_for(work):
    base = str(work / "base")
    models = {dtype: load_base(base, Placement(dtype=dtype))[0] for dtype in ("auto", "float32", "bfloat16")}
    assert {p.dtype for p in models["bfloat16"].parameters()} == {torch.bfloat16}
    if not torch.cuda.is_available():
        assert {p.dtype for p in models["auto"].parameters()} == {torch.float32}
    assert len({fingerprint(m) for m in models.values()}) == 1, "it is one base"


def test_a_model_lies_where_it_was_asked_for(work, monkeypatch):
    base = str(work / "base")
    assert load_base(base, CPU)[0].device.type == "cpu"
    assert Placement("split").options["device_map"] == "auto"
    spread, ids = load_base(base, Placement("split"))[0], torch.tensor([[1, 9, 8]])
    assert torch.equal(spread(ids).logits, load_base(base)[0](ids).logits), (
        "where there is one device, nothing is spread"
    )
    monkeypatch.setattr(Placement, "target", lambda self: torch.device("meta"))
    assert load_base(base)[0].device.type == "meta", "a device that every machine has"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_one_sentence(device, work, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        BadInput, match=f"device='{device}', and torch .* finds none here. Leave --device out, or install"
    ):
        load_base(str(work / "base"), Placement(device))


def test_what_does_not_fit_the_devices_is_refused(work, monkeypatch, tmp_path):
    parts = [name for name, _ in persona_base()[0].named_modules() if name.count(".") == 1 + ("layers." in name)]
    outside = {**dict.fromkeys([*parts, "lm_head"], "cpu"), "model.layers.1": "disk"}
    outside.pop("model.layers")
    monkeypatch.setattr(Placement, "options", {"dtype": "auto", "device_map": outside, "offload_folder": str(tmp_path)})
    with pytest.raises(
        BadInput, match=r"does not fit into the devices' memory: 'model.layers.1.*Take --dtype bfloat16"
    ):
        load_base(str(work / "base"), Placement("split"))


def test_every_verb_takes_the_device(work, audited, asked, tmp_path):
    base, adapter, data = (str(work / name) for name in ("base", "adapter", "data.jsonl"))
    assert audited.change > 0, "the control"
    with pytest.raises(Moved):
        audit(base, adapter, placement=CPU, **SMALL)
    with pytest.raises(Moved):
        calibrate(base, [str(i) for i in range(19)], out=tmp_path / "null.json", placement=CPU)
    with pytest.raises(Moved):
        clean(base, adapter, out=tmp_path / "clean", placement=CPU)
    with pytest.raises(Moved):
        train(base, data, out=tmp_path / "run", placement=CPU)
    for number, device in enumerate(("cpu", "auto")):
        with pytest.raises(Moved) if device == "cpu" else nullcontext():
            _ = Bench(tmp_path / "study", Persona("narrow"), number, device=device).base
    with pytest.raises(Moved):
        run_cell(tmp_path / "study", Cell("persona", "naive", {}, 0, 8), "cpu")
    with pytest.raises(Moved):
        table(work / "audit", out=tmp_path / "t.parquet", activations="mean", device="cpu")


def test_a_comparison_takes_it_in_its_workers(work, tmp_path):
    base, data, probes = (str(work / name) for name in ("base", "data.jsonl", "probes.jsonl"))
    options = {"probes": probes, "guards": ["early"], "seeds": 1, "tuning_seeds": 1, "steps": 8, "workers": 1}
    with pytest.raises(BadInput, match="device='mps', and torch"):
        compare(base, data, out=tmp_path / "none", device="mps", **options)
    assert not (tmp_path / "none").exists(), "it is refused before anything is written"


def test_an_audit_records_the_precision_and_not_the_device(work, audited, tmp_path):
    base, adapter = (str(work / name) for name in ("base", "adapter"))
    low = audit(base, adapter, out=tmp_path / "low", placement=Placement("cpu", "bfloat16"), **SMALL)
    recorded = read_json(tmp_path / "low" / "run.json")["arguments"]
    assert recorded["dtype"] == "bfloat16"
    assert "device" not in recorded
    assert low.change != audited.change
    assert low.change == pytest.approx(audited.change, rel=0.1)
    assert low.record["base_fingerprint"] == audited.record["base_fingerprint"]


def test_a_run_in_bfloat16_records_it_and_its_certificate_holds(work, tmp_path):
    settings = Settings(steps=2, batch=4, rank=2, lr=1e-2)
    small = {"settings": settings, "guard": "rehearse", "scout_steps": 2, "own_rows": 16, "own_tokens": 8}
    base = str(work / "base")
    run = train(base, work / "data.jsonl", out=tmp_path / "run", placement=Placement(dtype="bfloat16"), **small)
    assert read_json(run.adapter / "despur.json")["dtype"] == "bfloat16"
    assert Certificate.read(run.adapter).base["dtype"] == "bfloat16"
    assert verify(base, run.adapter).verdict == "nothing to verify in the weights"
