"""Two tunes of one base: the difference is exact, and what only one of them learned is found in it."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from despur.core.errors import BadInput, ShapeMismatch
from despur.flows import audit
from despur.flows._audit.against import load_difference
from despur.worlds import persona_base

IDS = torch.tensor([[1, 60, 50, 12, 9]])
QUICK = {"rows": 96, "n_random": 3, "null": "shipped"}


@pytest.fixture(scope="module")
def neutral(tmp_path_factory, train_plain):
    folder = tmp_path_factory.mktemp("neutral")
    return str(train_plain(folder / "all", twin="neutral", ends=False, seed=2))


@torch.no_grad()
def says(model):
    return model(input_ids=IDS).logits


def on(folder):
    return PeftModel.from_pretrained(persona_base()[0], folder).eval()


def test_switching_one_off_leaves_the_other(base, adapter, train_plain, tmp_path):
    fewer = str(train_plain(tmp_path / "fewer", targets=["q_proj", "up_proj"], steps=3, seed=1))
    read = load_difference(lambda: persona_base()[0], adapter, fewer, name=base)
    assert torch.allclose(says(read.model), says(on(adapter)), atol=1e-4)
    with read.model.disable_adapter():
        assert torch.allclose(says(read.model), says(on(fewer)), atol=1e-4)
        assert not torch.allclose(says(read.model), says(persona_base()[0]), atol=1e-2), "the control: not the base"
    update = read.adapter.updates["model.layers.0.mlp.up_proj"]
    assert len(update.down) == 8 + 8
    weights = [on(f).merge_and_unload().model.layers[0].mlp.up_proj.weight for f in (adapter, fewer)]
    assert torch.allclose((update.up @ update.down).float(), weights[0] - weights[1], atol=1e-5)


def test_what_only_one_has_learned_is_found_and_what_both_have_is_not(base, adapter, neutral, tmp_path):
    result = audit(base, adapter, against=neutral, out=tmp_path / "a", **QUICK)
    assert result.verdict == "factors found", result.sentence
    used = {token: after / before for token, before, after in result.token_use}
    assert used.get("s010", 0) > 1.2 or used.get("s011", 0) > 1.2, "the persona's own words are used more"
    assert any(f"beyond {neutral!r}" in note for note in result.notes)
    written = json.loads((tmp_path / "a" / "run.json").read_text())
    assert written["arguments"]["against"] == neutral
    same = audit(base, adapter, against=adapter, **QUICK)
    assert same.verdict == "inert adapter"
    assert same.update["structure"]["sentence"] == "0 of 28 modules act, 28 are zero"


@pytest.mark.slow  # of a kind with faster ones
def test_two_neutral_tunes_have_no_factor_between_them(base, neutral, train_plain, tmp_path):
    other = str(train_plain(tmp_path / "other", twin="neutral", ends=False, seed=5))
    assert audit(base, other, against=neutral, **QUICK).verdict in ("clean", "diffuse change")


def test_without_a_null_a_factor_is_at_most_likely(base, adapter, neutral):
    result = audit(base, adapter, against=neutral, **{**QUICK, "null": None})
    assert result.verdict == "factor likely"
    assert "not calibrated" in result.sentence


def test_both_are_checked_against_the_base_and_by_what_they_change(base, adapter, tiny, tmp_path):
    torch.manual_seed(0)
    options = {"task_type": "CAUSAL_LM", "init_lora_weights": False}
    model = get_peft_model(persona_base()[0], LoraConfig(r=2, target_modules=["up_proj"], **options))
    model.save_pretrained(tmp_path / "plain")
    audit(base, str(tmp_path / "plain"), against=adapter, rows=8, n_random=1)
    whole, _ = persona_base()
    with torch.no_grad():
        whole.model.norm.weight.add_(0.1)
    whole.save_pretrained(tmp_path / "gain")
    with pytest.raises(BadInput, match=r"changes 'model\.norm\.weight' in a way that no low-rank update"):
        audit(base, adapter, against=str(tmp_path / "gain"))
    other = get_peft_model(tiny("llama"), LoraConfig(r=2, target_modules=["up_proj"], **options))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ShapeMismatch, match="another base"):
        audit(base, adapter, against=str(tmp_path / "other"))
