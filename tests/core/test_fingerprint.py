import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from despur.core import fingerprint, same_base
from despur.core.model import fingerprint as _module
from despur.core.model.fingerprint import base_weights, known_fingerprint, remember_fingerprint


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_has_one_fingerprint_however_it_is_loaded(kind, tied, dtype, tiny, tmp_path, quiet):
    base = tiny(kind, tie_word_embeddings=tied).to(dtype)
    with quiet():
        base.save_pretrained(tmp_path)
        loads = [AutoModelForCausalLM.from_pretrained(tmp_path, dtype=d) for d in (torch.float32, torch.bfloat16)]
    assert {fingerprint(model) for model in loads} == {fingerprint(base)}


@pytest.mark.parametrize("target", ["all-linear", ["embed_tokens", "lm_head"]])
@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_on_top_does_not_count(target, tied, tiny, trained):
    base = tiny("llama", tie_word_embeddings=tied)
    _, model = trained(base=base, target_modules=target)
    assert fingerprint(model) == fingerprint(model.get_base_model()) == fingerprint(base)


def test_every_tensor_counts(tiny):
    base = tiny("llama")
    seen = {fingerprint(base), fingerprint(tiny("llama", seed=1)), fingerprint(tiny("llama", num_hidden_layers=1))}
    for _, weight in base.named_parameters():
        with torch.no_grad():
            weight.view(-1)[0] += 1
        seen.add(fingerprint(base))
    assert len(seen) == 3 + len(list(base.parameters()))


def test_samples_are_spread_over_rows_and_columns():
    layer, seen = nn.Linear(256, 1024, bias=False), set()
    seen.add(fingerprint(layer))
    for column in range(0, 256, 16):  # a stride of numel / 1024 would only ever meet column 0
        with torch.no_grad():
            layer.weight[:, column : column + 16] += 1
        seen.add(fingerprint(layer))
    assert len(seen) == 17


def test_one_row_of_a_large_table_counts():
    table = nn.Embedding(20_000, 8)
    sampled, full = fingerprint(table).split(".")
    for row in range(1000, 20_000, 1900):
        before = table.weight.data[row].clone()
        table.weight.data[row] += 1
        changed = fingerprint(table).split(".")
        assert changed[1] != full
        table.weight.data[row] = before
    assert fingerprint(table) == f"{sampled}.{full}"
    with torch.no_grad():
        table.weight[: len(table.weight) // 2] = 0
    assert fingerprint(table).split(".")[0] != sampled, "the control: half of it is seen by the sample, too"


def test_parts_of_a_weight_are_one_digest(monkeypatch, tiny):
    base = tiny("llama")
    whole = fingerprint(base)
    monkeypatch.setattr(_module, "_PART", 7)
    assert fingerprint(base) == whole


def test_fingerprints_of_earlier_versions_agree_as_far_as_they_can_tell(tiny):
    base = tiny("llama")
    now = fingerprint(base)
    earlier = now.partition(".")[0]
    assert len(earlier) == 16
    assert same_base(earlier, now)
    assert same_base(now, now)
    assert not same_base(now, earlier + ".0")
    assert not same_base("0" * 16, now)
    assert not same_base("", now)


def test_a_known_fingerprint_is_given_again_until_a_sampled_weight_changes(tiny):
    base = tiny("llama")
    value = fingerprint(base)
    other = value.partition(".")[0] + ".0"
    remember_fingerprint(base, other)
    assert known_fingerprint(base) == other, "not computed again"
    with torch.no_grad():
        next(base.parameters()).view(-1)[0] += 1
    assert known_fingerprint(base) == fingerprint(base) != value


def test_a_tied_weight_counts_once(tiny):
    tied, own = (tiny("llama", tie_word_embeddings=tie) for tie in (True, False))
    assert "lm_head.weight" not in base_weights(tied)
    assert base_weights(tied, tied=True).keys() == base_weights(own).keys() == {*base_weights(tied), "lm_head.weight"}
