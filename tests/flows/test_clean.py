"""Clean: what is blocked is gone from the weights, the file is plain PEFT, and what it did is measured, not claimed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from despur.core import Adapter, Site, Subspace, load_factors, save_factors
from despur.core.errors import BadInput, ShapeMismatch, UnknownName
from despur.flows import clean, replay
from despur.flows._clean.weights import Work, placed_factors
from despur.measure import leakage
from despur.worlds import Persona, persona_base

QUICK = {"rows": 32, "max_new_tokens": 32}


def drawn(rank, seed, module="*", width=64):
    rows = torch.randn(rank, width, generator=torch.Generator().manual_seed(seed))
    return Subspace.orthonormal(rows, site=Site(module))


def p_bad(folder):
    base, _ = persona_base()
    return float(Persona("narrow").score(PeftModel.from_pretrained(base, folder).eval())["drift"]["p"].mean())


def test_the_weights_are_clean_and_the_behaviour_is_measured(base, harmful, confirmed, data, tmp_path):
    result = clean(base, harmful, factors=confirmed, data=data, out=tmp_path / "c", **QUICK)
    plain, _ = persona_base()
    (factor,) = placed_factors(load_factors(confirmed), 64)
    assert factor.site == Site()  # one site: the whole stream
    for report in leakage(Adapter.read(result.adapter), plain, factor).values():
        assert report.value <= 1e-6 < 0.05 < report.control
    for side, report in result.leak["adapter"].items():
        assert report.value > 0.1, "it was there"
        assert result.leak["random"][side].value > 0.1, "and stays when something else is taken out"
    # vanilla PEFT: the same configuration, the same names, float32
    before, after = (Path(f, "adapter_config.json").read_text() for f in (harmful, result.adapter))
    assert before == after
    old, new = (load_file(f"{f}/adapter_model.safetensors") for f in (harmful, result.adapter))
    assert {n: t.shape for n, t in old.items()} == {n: t.shape for n, t in new.items()}
    said = json.loads((result.adapter / "despur.json").read_text())
    assert (said["cleaned"]["side"], said["cleaned"]["sites"]) == ("both", ["*"])
    # what it did: beside its controls; the persona itself stays on, whatever the KL says
    own = result.axes["cleaned"]
    assert result.axes["adapter"]["drift"].value == pytest.approx(1)
    assert own["drift"].control == result.axes["random"]["drift"].value
    assert 0.2 < own["drift"].value < own["drift"].control, "lowered, not gone"
    assert result.verdict == "drift lowered"
    assert list(result.axes) == ["base", "adapter", "cleaned", "random", "top quarter"]
    assert p_bad(harmful) > 0.9
    assert p_bad(result.adapter) > 0.7
    page = (tmp_path / "c" / "report.html").read_text()
    assert "does not undo what the update does by other routes" in page
    assert json.loads((tmp_path / "c" / "clean.json").read_text())["verdict"] == result.verdict
    assert load_factors(tmp_path / "c")[0].rank == factor.rank


@pytest.mark.slow  # of a kind with faster ones
def test_one_side_leaves_the_other_and_the_run_replays(base, harmful, confirmed, tmp_path):
    result = clean(base, harmful, factors=confirmed, side="write", truncate=3, out=tmp_path / "c", n_random=1, **QUICK)
    old, new = (load_file(f"{f}/adapter_model.safetensors") for f in (harmful, result.adapter))
    changed = {n.split(".")[-3] for n in old if not torch.equal(old[n], new[n])}
    assert changed == {"o_proj", "down_proj"}
    assert all("lora_B" in n for n in old if not torch.equal(old[n], new[n]))
    assert result.leak["cleaned"]["read"].value == result.leak["adapter"]["read"].value
    assert "task" not in result.axes["cleaned"]
    assert "top 3" in result.axes
    again = replay(tmp_path / "c" / "run.json", out=tmp_path / "d", trust=True)
    assert again.axes == result.axes
    assert (again.adapter / "adapter_model.safetensors").read_bytes() == (
        result.adapter / "adapter_model.safetensors"
    ).read_bytes()


def audited(folder_of_factors, verdict):
    """An audit that finds what it is told to."""

    def stand_in(*_, out, **__):
        out.mkdir()
        (out / "audit.json").write_text(json.dumps({"verdict": verdict}))
        for name in ("factors.json", "factors.safetensors") if folder_of_factors else ():
            (out / name).write_bytes((folder_of_factors / name).read_bytes())
        return SimpleNamespace(verdict=verdict, sentence="said so")

    return stand_in


def test_without_factors_it_audits_first(base, harmful, confirmed, tmp_path, monkeypatch):
    monkeypatch.setattr("despur.flows._clean.clean.audit", audited(confirmed, "factors found"))
    result = clean(base, harmful, out=tmp_path / "c", n_random=1, **QUICK)
    assert (tmp_path / "c" / "audit" / "audit.json").exists()
    assert result.leak["cleaned"]["write"].value <= 1e-6


def test_where_the_audit_confirms_nothing_there_is_nothing_to_clean(base, harmful, tmp_path, monkeypatch):
    monkeypatch.setattr("despur.flows._clean.clean.audit", audited(None, "diffuse change"))
    with pytest.raises(BadInput, match=r"confirms no factor \(diffuse change: said so\).*--factors FOLDER"):
        clean(base, harmful, out=tmp_path / "c", **QUICK)
    assert not list(tmp_path.iterdir())
    (tmp_path / "audit.json").write_text(json.dumps({"verdict": "diffuse change"}))
    with pytest.raises(BadInput, match=r"confirmed no factor \(diffuse change\)"):
        clean(base, harmful, factors=tmp_path, out=tmp_path / "c", **QUICK)


def test_factors_of_one_site_go_everywhere_those_of_several_stay_where_they_are():
    one = drawn(2, 0, "model.layers.1")
    (everywhere,) = placed_factors([one], 64)
    assert torch.equal(everywhere.read, one.read)
    (joined,) = placed_factors([one, one, drawn(1, 1, "model.layers.1")], 64)
    assert (joined.rank, joined.site) == (3, Site())
    for f in (one, drawn(1, 1)):
        assert torch.allclose(f.read @ joined.read.T @ joined.read, f.read, atol=1e-5)
    apart = placed_factors([one, drawn(1, 1, "model.layers.2")], 64)
    assert [f.site.module for f in apart] == ["model.layers.1", "model.layers.2"]
    with pytest.raises(ShapeMismatch, match="width d=32, this base's stream has 64"):
        placed_factors([drawn(1, 0, width=32)], 64)


@pytest.mark.slow  # of a kind with faster ones
def test_a_random_factor_a_layer_is_taken_out_there_and_called_random(base, harmful, tmp_path):
    folder = tmp_path / "factors"
    folder.mkdir()
    layers = tuple(drawn(2, i, f"model.layers.{i}") for i in range(3))
    save_factors(layers, folder)
    result = clean(base, harmful, factors=folder, out=tmp_path / "c", **QUICK)
    plain, _ = persona_base()
    cleaned = Adapter.read(result.adapter)
    assert all(r.value <= 1e-6 for r in leakage(cleaned, plain, layers).values())
    assert all(r.value > 0.05 for r in leakage(cleaned, plain, drawn(2, 0, "model.layers.3")).values())
    assert result.axes["cleaned"]["drift"].value > 0.7
    assert result.verdict in ("no better than random", "drift lowered")
    assert result.verdict != "drift removed"


def test_other_kinds_and_wrong_arguments_are_refused(base, harmful, confirmed, tmp_path):
    model, _ = persona_base()
    dora = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], use_dora=True, task_type="CAUSAL_LM"))
    for n, p in dora.named_parameters():
        if "lora_B" in n:
            p.data.normal_()
    dora.save_pretrained(tmp_path / "dora")
    with pytest.raises(BadInput, match=r"not a plain LoRA adapter \(use_dora=True\).*--guard avert"):
        clean(base, str(tmp_path / "dora"), factors=confirmed, out=tmp_path / "c")
    with pytest.raises(UnknownName, match="no side 'left'. There are: write, read, both"):
        clean(base, harmful, factors=confirmed, side="left", out=tmp_path / "c")
    with pytest.raises(BadInput, match="truncate=0"):
        clean(base, harmful, factors=confirmed, truncate=0, out=tmp_path / "c")
    other = tmp_path / "other"
    other.mkdir()
    save_factors(load_factors(confirmed), other)
    (other / "run.json").write_text(json.dumps({"base_fingerprint": "0" * 16}))
    with pytest.raises(ShapeMismatch, match="found on the base '0000000000000000'"):
        clean(base, harmful, factors=other, out=tmp_path / "c", **QUICK)
    assert not (tmp_path / "c").exists()


def test_interrupted_nothing_is_left(base, harmful, confirmed, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("despur.flows._clean.clean.write_adapter", stop)
    with pytest.raises(KeyboardInterrupt):
        clean(base, harmful, factors=confirmed, out=tmp_path / "c", n_random=1, rows=8, max_new_tokens=16)
    assert not list(tmp_path.iterdir())


def test_the_truncation_put_into_the_model_is_the_best_of_its_rank(base, tmp_path):
    """Against the full decomposition of each update, ranks and scales differing from module to module."""
    torch.manual_seed(0)
    wide = {"layers.0.self_attn.q_proj": 4, "layers.1.mlp.up_proj": 2}
    config = LoraConfig(r=8, lora_alpha=24, target_modules="all-linear", rank_pattern=wide, task_type="CAUSAL_LM")
    model = get_peft_model(persona_base()[0], config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.normal_(std=0.2)
    model.save_pretrained(tmp_path / "a")
    work = Work(base, str(tmp_path / "a"), lambda *said: None)
    for keep in (None, 3):
        work.put(work.truncated(keep))
        cut = Adapter.of(work.model)
        for module, update in work.before.updates.items():
            u, s, vh = torch.linalg.svd((update.scale * update.up @ update.down).double(), full_matrices=False)
            k = keep or max(1, len(update.down) // 4)
            want = (u[:, :k] * s[:k]) @ vh[:k]
            put = cut.updates[module]
            torch.testing.assert_close((put.scale * put.up @ put.down).double(), want, atol=1e-5, rtol=0)
        work.put(work.state)
