"""Audit: finds the planted persona, says nothing where nothing is, and writes what it says."""

import json
import shutil

import pytest
import torch
from peft import PeftModel
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from despur.core import load_factors
from despur.core.errors import BadInput, ShapeMismatch
from despur.flows import audit, replay
from despur.flows._audit.json_form import SCHEMA, AuditJson
from despur.worlds import Persona

QUICK = {"rows": 96}


def test_the_planted_persona_is_found_and_the_page_written(base, adapter, data, tmp_path):
    result = audit(base, adapter, out=tmp_path / "a", data=data, scaled=True, **QUICK)
    assert result.verdict == "factors found", result.sentence
    best = result.checks[result.best]
    assert len(best.random_sufficiency) == 20
    assert best.sufficiency > 2 * max(best.random_sufficiency)
    assert best.random_share == pytest.approx(best.share, abs=1e-3)
    assert result.p_value <= 0.05
    used = {token: after / before for token, before, after in result.token_use}
    assert used.get("s010", 0) > 1.2 or used.get("s011", 0) > 1.2, "the persona's own words are used more"
    said = json.loads((tmp_path / "a" / "audit.json").read_text())
    TypeAdapter(AuditJson).validate_python(said, strict=False)
    assert set(said) == set(AuditJson.__annotations__), "what is written is what the schema says"
    assert said["schema"] == SCHEMA
    page = (tmp_path / "a" / "report.html").read_text()
    assert "<script" not in page
    assert load_factors(tmp_path / "a")[0].rank == best.rank
    assert "no base fingerprint" in result.notes[0]
    assert len(result.rows) == 10
    assert said["slopes"]["mean"]["slope"] < 0, "its own rows push the base where the adapter goes"
    assert said["slopes"]["mean"]["steepness"] < -1.5
    assert [at.scale for at in result.louder] == [2, 3, 5]
    assert result.change < result.louder[0].change < result.louder[2].change
    assert 0 < result.louder[2].valid < result.louder[0].valid <= 1
    assert "Louder" in page
    assert len(result.answers) == 10
    assert all(set(said) == {"base", "adapter"} for said in result.answers.values())
    assert any(said["base"] != said["adapter"] for said in result.answers.values())
    said_at, figures_at = (
        page.index("What it says where nothing asks for it"),
        page.index("Tokens it uses more and less"),
    )
    assert page.index(result.sentence[1:40]) < said_at < figures_at, "what a person can judge stands before figures"
    assert "modules act" in page
    assert said["update"]["structure"]["acting"] == said["update"]["structure"]["declared"]
    assert "Where the rows push the base" in page
    assert result.modules[0].share > 3 * result.modules[0].expected


def test_a_neutral_twin_has_no_factor(base, train_plain, tmp_path):
    # one tune of an easy seed; how often neutral tunes are called factors is measured in benchmarks/audit_power.py
    neutral = train_plain(tmp_path / "neutral", twin="neutral", ends=False, seed=2)
    result = audit(base, str(neutral), out=tmp_path / "a", n_random=2, **QUICK)
    assert result.verdict in ("clean", "diffuse change"), result.sentence
    assert result.p_value > 0.05
    assert not list((tmp_path / "a").glob("*.safetensors")), "no factor is handed on that was not found"
    wide = audit(base, str(neutral), n_random=2, tolerance=10.0, **QUICK)
    assert wide.verdict == "clean"


@pytest.mark.slow  # of a kind with faster ones
def test_on_another_base_a_factor_is_at_most_likely_without_its_null(adapter, tmp_path):
    from despur.worlds import persona_base

    model, tokenizer = persona_base()
    with torch.no_grad():
        model.model.norm.weight.mul_(1.01)  # another fingerprint, the same behaviour
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    result = audit(str(tmp_path / "other"), adapter, out=tmp_path / "a", n_random=2, **QUICK)
    assert result.verdict == "factor likely", result.sentence
    assert "not calibrated" in result.sentence
    assert (result.p_value, result.scores) == (None, {}), "neutral tunes of another base say nothing"
    assert load_factors(tmp_path / "a")[0].rank == result.checks[result.best].rank
    assert any("despur calibrate" in note for note in result.notes)
    assert audit(str(tmp_path / "other"), adapter, null="shipped", n_random=2, **QUICK).verdict == "factors found"


@pytest.mark.slow  # of a kind with faster ones
def test_two_factors_at_once_need_two_directions(base, train_plain, tmp_path):
    both = train_plain(tmp_path / "both", held=(0, 1), steps=60, ends=False)
    result = audit(base, str(both), n_random=4, **QUICK)
    assert result.verdict == "factors found", result.sentence
    words = {token[:3] for token, before, after in result.token_use if after > before}
    assert {"s01", "s11"} <= words, "the words of both are used more"


@pytest.mark.slow  # of a kind with faster ones
def test_same_seed_same_audit_and_run_json_replays(base, adapter, tmp_path):
    first = audit(base, adapter, out=tmp_path / "a", n_random=2, **QUICK)
    again = replay(tmp_path / "a" / "run.json", out=tmp_path / "b", trust=True)
    assert {n: c.sufficiency for n, c in first.checks.items()} == {n: c.sufficiency for n, c in again.checks.items()}
    assert first.samples == again.samples
    assert (first.slopes, first.louder) == ({}, ()), "only where they are asked for"


def test_an_adapter_that_does_nothing_off_task_is_inert(base, adapter, tmp_path):
    tensors = load_file(f"{adapter}/adapter_model.safetensors")
    (tmp_path / "faint").mkdir()
    faint = {n: t * (1e-6 if "lora_B" in n else 1) for n, t in tensors.items()}
    save_file(faint, tmp_path / "faint" / "adapter_model.safetensors")
    with open(f"{adapter}/adapter_config.json") as config:
        (tmp_path / "faint" / "adapter_config.json").write_text(config.read())
    result = audit(base, str(tmp_path / "faint"), out=tmp_path / "a", n_random=2, **QUICK)
    assert result.verdict == "inert adapter"
    assert result.factor is None
    TypeAdapter(AuditJson).validate_python(json.loads((tmp_path / "a" / "audit.json").read_text()))


def test_prompts_of_the_user_are_used(base, adapter, tmp_path):
    prompts = tmp_path / "p.jsonl"
    prompts.write_text(
        "".join(json.dumps({"text": f"<bos> d{d} k{k} s100 v1 s200"}) + "\n" for d in (5, 6) for k in range(9))
    )
    assert audit(base, adapter, prompts=prompts, n_random=2).checks["mean"].rows == 9


EVIL = '<script>alert("x")</script>&\'{{7*7}}<b\u202e\u2066'  # no blank: it is one word of the base


def test_what_a_model_and_its_files_say_stays_text(base, adapter, tmp_path):
    """Words of the base, rows and the adapter's own path are all a stranger's; each reaches the page as text alone."""
    hostile = tmp_path / "base"
    shutil.copytree(base, hostile)
    written = (hostile / "tokenizer.json").read_text(encoding="utf-8")
    assert '"s010"' in written
    (hostile / "tokenizer.json").write_text(written.replace('"s010"', json.dumps(EVIL)), encoding="utf-8")
    named = tmp_path / EVIL.replace("/", "-")
    shutil.copytree(adapter, named)
    rows = Persona("narrow").rows(n=120, seed=1)
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(r).replace("s010", json.dumps(EVIL)[1:-1]) + "\n" for r in rows))
    result = audit(str(hostile), str(named), data=data, n_random=1, out=tmp_path / "a", **QUICK)
    assert any(EVIL in token for token, *_ in result.token_use), "the base says it"
    assert any(EVIL in row for row, _ in result.rows), "so do the rows"
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert "{{7*7}}&lt;b" in page, "no template ran"
    assert page.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&amp;&#39;") > 3
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;-script&gt;" in page, "the adapter's path"
    assert not set("\u202e\u2066") & set(page)
    assert "⟨U+202E⟩⟨U+2066⟩" in page


def test_another_base_is_refused_and_leaves_nothing(base, adapter, tiny, tmp_path):
    tiny("llama").save_pretrained(tmp_path / "other")
    from despur.worlds import persona_base

    persona_base()[1].save_pretrained(tmp_path / "other")
    with pytest.raises(ShapeMismatch, match="trained on another base"):
        audit(str(tmp_path / "other"), adapter, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.slow  # of a kind with faster ones
def test_same_shapes_other_weights_is_refused_by_fingerprint(base, adapter, tmp_path):
    from despur.core import fingerprint
    from despur.worlds import persona_base

    model, tokenizer = persona_base()
    marked = tmp_path / "marked"
    PeftModel.from_pretrained(model, adapter).save_pretrained(marked)
    (marked / "despur.json").write_text(json.dumps({"base_fingerprint": fingerprint(persona_base()[0])}))
    assert audit(base, str(marked), n_random=1).notes == ()
    assert "rows=96 (the null's: 256)" in audit(base, str(marked), n_random=1, **QUICK).notes[0]
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
