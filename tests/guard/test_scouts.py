"""A scout of the same script, whatever the script trains: switched on as PEFT would, and gone again without a trace."""

import copy
import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from despur.core.adapter.scout import as_scout
from despur.core.errors import CannotAttach
from despur.core.model.fingerprint import fingerprint

KINDS = {
    "plain": {},
    "DoRA": {"use_dora": True},
    "head": {"modules_to_save": ["lm_head"]},
    "tokens": {"trainable_token_indices": [5, 9]},
    "rslora, patterns": {"use_rslora": True, "rank_pattern": {"layers.0.*": 2}},
    "pissa": {"init_lora_weights": "pissa"},
    "parameters": {"target_modules": [], "target_parameters": ["mlp.gate_proj.weight"]},
}
REFUSED = ("pissa",)


def wrapped(base: nn.Module, options: dict, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(copy.deepcopy(base), LoraConfig(**{"r": 4, "target_modules": ["q_proj"], **options}))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape))
    return model


def logits(model, tokens):
    with torch.no_grad():
        return model.eval()(input_ids=tokens).logits


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_scout_of_any_kind_is_what_peft_makes_of_it_and_leaves_nothing(kind, tiny, tokens, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    wrapped(base, KINDS[kind], seed=1).save_pretrained(tmp_path)
    theirs = logits(PeftModel.from_pretrained(copy.deepcopy(base), tmp_path), tokens)
    model = wrapped(base, {k: v for k, v in KINDS[kind].items() if kind != "pissa"}, seed=2)
    own, names = logits(model, tokens), {n: (p.requires_grad, p.detach().clone()) for n, p in model.named_parameters()}
    if kind in REFUSED:
        with pytest.raises(CannotAttach, match="scout.*Train"), as_scout(model, tmp_path):
            pass
    else:
        with as_scout(model, tmp_path) as scout:
            torch.testing.assert_close(logits(scout, tokens), theirs, rtol=0, atol=1e-5)
            assert not torch.allclose(theirs, own, atol=1e-3), "the control: it is another adapter"
    assert torch.equal(logits(model, tokens), own)
    assert fingerprint(model) == fingerprint(base)
    after = dict(model.named_parameters())
    assert set(after) == set(names)
    assert all(p.requires_grad == names[n][0] and torch.equal(p, names[n][1]) for n, p in after.items())


def test_a_scout_with_embeddings_of_its_own_or_of_another_base_is_refused(tiny, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    wrapped(base, {"use_dora": True}, seed=1).save_pretrained(tmp_path)
    model = wrapped(base, {}, seed=2)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file(
        {**tensors, "base_model.model.lm_head.weight": 1.1 * base.lm_head.weight.detach()},
        file,
        metadata={"format": "pt"},
    )
    with pytest.raises(CannotAttach, match="trained embeddings beside its adapter"), as_scout(model, tmp_path):
        pass
    save_file(tensors, file, metadata={"format": "pt"})
    (tmp_path / "despur.json").write_text('{"base_fingerprint": "another"}')
    with pytest.raises(CannotAttach, match="fingerprint of another base"), as_scout(model, tmp_path):
        pass
    assert list(model.peft_config) == ["default"]
