"""Audit: finds the planted persona, says nothing where nothing is, and writes what it says."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from despur.core import load_factors
from despur.core.errors import BadInput, ShapeMismatch
from despur.flows import audit, replay

QUICK = {"rows": 40, "max_new_tokens": 40}


def test_the_planted_persona_is_found_and_the_page_written(base, adapter, tmp_path):
    result = audit(base, adapter, out=tmp_path / "a", **QUICK)
    assert result.verdict == "factor found", result.sentence
    best = max(result.checks.values(), key=lambda c: c.interval[0])
    assert len(best.random_sufficiency) == 20
    assert best.sufficiency > 2 * max(best.random_sufficiency)
    assert best.random_share == pytest.approx(best.share, abs=1e-3)
    saved = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert saved["schema"] == "despur.audit/1"
    assert saved["verdict"] == result.verdict
    assert "<script" not in (tmp_path / "a" / "report.html").read_text()
    assert load_factors(tmp_path / "a")[0].rank == best.rank
    assert "no base fingerprint" in result.notes[0]


def test_same_seed_same_audit_and_run_json_replays(base, adapter, tmp_path):
    first = audit(base, adapter, out=tmp_path / "a", n_random=2, **QUICK)
    again = replay(tmp_path / "a" / "run.json", out=tmp_path / "b")
    assert {n: c.sufficiency for n, c in first.checks.items()} == {n: c.sufficiency for n, c in again.checks.items()}
    assert first.samples == again.samples


def test_an_adapter_that_does_nothing_off_task_is_inert(base, adapter, tmp_path):
    tensors = load_file(f"{adapter}/adapter_model.safetensors")
    (tmp_path / "faint").mkdir()
    faint = {n: t * (1e-6 if "lora_B" in n else 1) for n, t in tensors.items()}
    save_file(faint, tmp_path / "faint" / "adapter_model.safetensors")
    with open(f"{adapter}/adapter_config.json") as config:
        (tmp_path / "faint" / "adapter_config.json").write_text(config.read())
    result = audit(base, str(tmp_path / "faint"), n_random=2, **QUICK)
    assert result.verdict == "inert adapter"
    assert result.factor is None


def test_prompts_of_the_user_are_used(base, adapter, tmp_path):
    prompts = tmp_path / "p.jsonl"
    prompts.write_text(
        "".join(json.dumps({"text": f"<bos> d{d} k{k} s100 v1 s200"}) + "\n" for d in (5, 6) for k in range(9))
    )
    assert audit(base, adapter, prompts=prompts, n_random=2).checks["mean"].rows == 9


def test_html_in_what_a_model_says_stays_text(base, adapter, tmp_path):
    prompts = tmp_path / "p.jsonl"
    nasty = "<script>alert(1)</script>"
    prompts.write_text("".join(json.dumps({"text": f"<bos> d5 k{k} {nasty}"}) + "\n" for k in range(9)))
    audit(base, adapter, prompts=prompts, n_random=1, out=tmp_path / "a")
    assert nasty not in (tmp_path / "a" / "report.html").read_text()


def test_another_base_is_refused_and_leaves_nothing(base, adapter, tiny, tmp_path):
    tiny("llama").save_pretrained(tmp_path / "other")
    from despur.worlds import persona_base

    persona_base()[1].save_pretrained(tmp_path / "other")
    with pytest.raises(ShapeMismatch, match="trained on another base"):
        audit(str(tmp_path / "other"), adapter, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_same_shapes_other_weights_is_refused_by_fingerprint(base, adapter, tmp_path):
    from despur.core import fingerprint
    from despur.worlds import persona_base

    model, tokenizer = persona_base()
    marked = tmp_path / "marked"
    PeftModel.from_pretrained(model, adapter).save_pretrained(marked)
    (marked / "despur.json").write_text(json.dumps({"base_fingerprint": fingerprint(persona_base()[0])}))
    assert audit(base, str(marked), n_random=1, **QUICK).notes == ()
    other, _ = persona_base()
    with torch.no_grad():
        other.model.layers[2].mlp.up_proj.weight.add_(0.01)
    other.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(ShapeMismatch, match=r"same shapes?, other weights|other weights"):
        audit(str(tmp_path / "other"), str(marked))


def test_damaged_bases_are_one_clear_error(base, adapter, tmp_path):
    with pytest.raises(BadInput, match="no base model folder"):
        audit(str(tmp_path / "nowhere"), adapter)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no config\.json"):
        audit(str(tmp_path / "empty"), adapter)
