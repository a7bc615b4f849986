import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from despur.core import fingerprint
from despur.core.model.fingerprint import base_weights


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


def test_a_tied_weight_counts_once(tiny):
    tied, own = (tiny("llama", tie_word_embeddings=tie) for tie in (True, False))
    assert "lm_head.weight" not in base_weights(tied)
    assert base_weights(tied, tied=True).keys() == base_weights(own).keys() == {*base_weights(tied), "lm_head.weight"}
