"""Changes of basis that leave a model's output as it is leave an audit's verdict as it is."""

import pytest
import torch
from peft import PeftModel

from despur.flows import audit
from despur.worlds import persona_base

ASKED = {"rows": 96, "n_random": 2}


@torch.no_grad()
def neurons(model):
    """Permute the neurons of every MLP."""
    for i, layer in enumerate(model.model.layers):
        order = torch.randperm(layer.mlp.up_proj.out_features, generator=torch.Generator().manual_seed(i))
        for m in (layer.mlp.up_proj, layer.mlp.gate_proj):
            m.weight.copy_(m.weight[order])
        layer.mlp.down_proj.weight.copy_(layer.mlp.down_proj.weight[:, order])


@torch.no_grad()
def heads(model):
    """Exchange the heads of every attention, keys and values with their queries."""
    for layer in model.model.layers:
        a, size = layer.self_attn, layer.self_attn.head_dim
        for m in (a.q_proj, a.k_proj, a.v_proj):
            m.weight.copy_(m.weight.unflatten(0, (-1, size)).flip(0).flatten(0, 1))
        a.o_proj.weight.copy_(a.o_proj.weight.unflatten(1, (-1, size)).flip(1).flatten(1, 2))


@torch.no_grad()
def gains(model):
    """Move the gain of every norm into the maps that read it."""
    for layer in model.model.layers:
        readers = {
            layer.input_layernorm: (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
            layer.post_attention_layernorm: (layer.mlp.up_proj, layer.mlp.gate_proj),
        }
        for norm, maps in readers.items():
            for m in maps:
                m.weight.mul_(norm.weight)
            norm.weight.fill_(1.0)


@pytest.fixture(scope="module")
def whole(adapter, base, tmp_path_factory):
    """The harmful adapter merged, as a whole model's folder, hidden in one way or none; and what it makes of a row."""

    def build(*hide):
        plain, tokenizer = persona_base()
        model = PeftModel.from_pretrained(plain, adapter).merge_and_unload().eval()
        for one in hide:
            one(model)
        folder = tmp_path_factory.mktemp("whole")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        with torch.no_grad():
            return str(folder), model(input_ids=torch.arange(5, 25)[None]).logits

    return build


@torch.no_grad()
def test_the_control_another_change_of_the_weights_is_seen(whole):
    _, logits = whole()
    _, other = whole(
        lambda model: model.model.layers[1].mlp.up_proj.weight.copy_(model.model.layers[1].mlp.up_proj.weight.flip(0))
    )
    assert (other - logits).abs().max() > 0.1, "neurons permuted on one side alone"


@pytest.mark.slow  # of a kind with faster ones
def test_a_change_of_basis_that_keeps_the_output_keeps_the_verdict(base, whole):
    folder, logits = whole()
    plain = audit(base, folder, **ASKED)
    assert plain.verdict == "factors found"
    hidden, same = whole(neurons, heads, gains)
    torch.testing.assert_close(same, logits, atol=1e-4, rtol=1e-4)
    found = audit(base, hidden, **ASKED)
    assert (found.verdict, found.best) == (plain.verdict, plain.best)
    assert found.change == pytest.approx(plain.change, rel=1e-3)
    for name in ("mean", "PCA 1", "PCA 2", "PCA 4"):
        assert found.checks[name].sufficiency == pytest.approx(plain.checks[name].sufficiency, abs=5e-3)
    assert found.token_use[0][0] == plain.token_use[0][0]
