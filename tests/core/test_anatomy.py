"""Where a model keeps what, of every kind of model that people have."""

import pytest
import torch
from torch import nn
from transformers import BloomConfig, BloomForCausalLM, MptConfig, MptForCausalLM

from despur.core import Anatomy, NormGain, Site, layer_path, stream_roles
from despur.core.errors import SiteNotFound


@pytest.mark.parametrize(
    ("kind", "first", "head", "final"),
    [
        ("llama", "model.layers.0", "lm_head", "model.norm"),
        ("gpt2", "transformer.h.0", "lm_head", "transformer.ln_f"),
        ("gpt_neox", "gpt_neox.layers.0", "lm_head", "gpt_neox.final_layer_norm"),
        ("opt", "model.decoder.layers.0", "lm_head", "model.decoder.final_layer_norm"),
        ("phi", "model.layers.0", "lm_head", "model.final_layernorm"),
    ],
)
def test_sizes_and_places(kind, first, head, final, tiny, lora):
    head = head if hasattr(tiny(kind), head) else "embed_out"  # of GPT-NeoX, in older transformers
    for model in (tiny(kind), lora(tiny(kind))):
        anatomy = Anatomy.of(model)
        assert (anatomy.depth, anatomy.width, anatomy.vocabulary, anatomy.context) == (2, 32, 64, 64)
        assert anatomy.layers[0] == first
        assert anatomy.sites == [Site(name) for name in anatomy.layers]
        assert anatomy.path == layer_path(model) == first[:-1] + "#"
        assert anatomy.roles == stream_roles(model)
        assert (anatomy.head, anatomy.final_norm) == (head, final)
        assert final in anatomy.norms
        assert len(anatomy.norms) == len(set(anatomy.norms))
        assert all(isinstance(anatomy.modules[name], nn.Module) for name in (*anatomy.norms, head))


def test_of_a_multimodal_model_the_text_part_counts(quiet):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0, "head_dim": 8}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 96}
    image = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with quiet():
        config = Gemma3Config(text_config=text, vision_config={**image, "image_size": 28, "patch_size": 14})
        anatomy = Anatomy.of(Gemma3ForConditionalGeneration(config))
    assert (anatomy.kind, anatomy.depth, anatomy.width) == ("gemma3_text", 2, 32)
    assert (anatomy.vocabulary, anatomy.context) == (64, 96)
    assert anatomy.path == "model.language_model.layers.#", "not what reads pictures, which is as deep"
    assert anatomy.final_norm == "model.language_model.norm"


def test_without_roles_there_are_layers_and_a_norm_beside_them(tiny):
    model = tiny("gpt2")
    model.config.model_type = "of_next_year"
    anatomy = Anatomy.of(model)
    assert not anatomy.is_tabled
    assert (len(anatomy.layers), anatomy.width, anatomy.final_norm) == (2, 32, "transformer.ln_f")
    norms = {f"transformer.h.{i}.ln_{j}" for i in (0, 1) for j in (1, 2)} | {"transformer.ln_f"}
    assert set(anatomy.norms) == norms, "found by watching"
    stated = Anatomy.of(model, {"transformer.h.*.mlp.c_fc": "read:transformer.h.*.ln_1"})
    assert set(stated.norms) == norms - {"transformer.h.0.ln_2", "transformer.h.1.ln_2"}, "what is stated overrules it"
    assert stated.known_path == "transformer.h.#"


def test_what_is_no_transformer_has_no_sizes():
    anatomy = Anatomy.of(nn.Sequential(nn.Linear(2, 2)))
    for name in ("depth", "width", "vocabulary"):
        with pytest.raises(
            SiteNotFound, match=r"^the config of Sequential has no \w+\. Give a decoder-only transformers"
        ):
            getattr(anatomy, name)
    assert anatomy.context is None
    assert Anatomy.of(nn.Linear(2, 2), {"": "read"}).known_path is None


def test_what_limits_a_row_has_several_names_and_may_not_be_there():
    sizes = {"vocab_size": 64, "n_layers": 2, "n_heads": 4}
    assert Anatomy.of(MptForCausalLM(MptConfig(d_model=32, max_seq_len=48, **sizes))).context == 48
    assert Anatomy.of(BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=2, n_head=4))).context is None


def test_stated_layers_are_those_of_the_stack(tiny):
    model = tiny("llama")
    model.tower = nn.ModuleList([nn.Linear(32, 32)])
    roles = Anatomy.of(model, {"tower.*": "write", "*.mlp.up_proj": "read"}).roles
    assert roles["tower.0"].layer is None
    assert roles["model.layers.1.mlp.up_proj"].layer == 1


def test_the_final_norm_is_what_the_head_reads(tiny, tokens):
    model = tiny("olmo2", num_key_value_heads=2, intermediate_size=64)
    norm = model.get_submodule(Anatomy.of(model).final_norm)
    seen = []
    norm.register_forward_hook(lambda _m, _a, out: seen.append(out))
    logits = model(tokens).logits
    assert torch.equal(logits, model.lm_head(seen[0]))
    assert NormGain.of(norm, 32).gain.shape == (32,)
