"""Roles are checked against what the models compute, by hooks: not against a second copy of the table."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BloomConfig,
    BloomForCausalLM,
)

from despur.core import NormGain, layer_path, match_role, stream_roles
from despur.core.errors import ShapeMismatch, SiteNotFound

KINDS = (  # the others stand in test_families.py
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3"),
    *("gpt2", "gpt_neox", "opt"),
)
VARIANTS = [
    *((kind, {}) for kind in KINDS),
    ("gpt_neox", {"use_parallel_residual": False}),
    ("opt", {"word_embed_proj_dim": 16}),
]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a - b).norm() <= tolerance * b.norm())


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_every_map_of_all_linear_has_a_role(kind, options, family, quiet):
    base = family(kind, **options)
    plain = stream_roles(base)
    with quiet():
        model = get_peft_model(base, LoraConfig(target_modules="all-linear", r=2))
    adapted = {n.removeprefix("base_model.model.") for n, m in model.named_modules() if hasattr(m, "base_layer")}
    assert len(adapted) >= 8
    for name in adapted:
        assert match_role(name, plain).module == name
    assert stream_roles(model) == stream_roles(base) == plain, "PEFT on top changes nothing"


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_readers_take_what_their_norm_gives_and_writers_add_up_to_the_layer(kind, options, family, passing, tokens):
    model = family(kind, **options)
    roles, (entered, left) = stream_roles(model), passing(model, tokens)
    path = layer_path(model)
    for layer in range(2):
        at = path.replace("#", str(layer))
        here = [role for role in roles.values() if role.layer == layer]
        written = [left[role.norm or role.module] for role in here if role.side == "write"]
        assert len(written) == 2
        added = [w.reshape(left[at].shape) for w in written]  # OPT flattens tokens
        assert close(sum(added), left[at] - entered[at]), "what the writers give is what the layer adds"
        streams = [entered[at], *(entered[at] + w for w in added)]
        readers = [role for role in here if role.side == "read"]
        for role in readers:
            assert torch.equal(entered[role.module], left[role.norm])
            assert any(close(entered[role.norm].reshape(s.shape), s) for s in streams), "the norm takes the stream"
    outside = [role for role in roles.values() if role.layer is None]
    start = sum(left[role.module] for role in outside if role.side == "write")
    first = entered[path.replace("#", "0")]
    assert close(start / start.norm(), first / first.norm()), "embeddings write the stream (Gemma scales them)"
    ends = [role for role in outside if role.side == "read"]
    assert ends
    for role in ends:
        assert torch.equal(entered[role.module], left[role.norm])


@pytest.mark.parametrize("kind", KINDS)
def test_the_gain_is_what_the_map_sees_when_the_stream_moves(kind, family, tokens):
    model = family(kind)
    by_norm: dict[str, list[str]] = {}
    for role in stream_roles(model).values():
        if role.side == "read":
            by_norm.setdefault(role.norm, []).append(role.module)
    rng = torch.Generator().manual_seed(1)
    for norm, maps in by_norm.items():
        gain = NormGain.of(model.get_submodule(norm), 32)
        steep = torch.randn(32, generator=rng, dtype=torch.float64)
        x = seen_by(model, tokens, norm, norm, 0 * steep)
        level = x - x.mean() if gain.centred else x
        v = steep - (steep @ level) / (level @ level) * level  # no component along the input: its length keeps
        for name in maps:
            z, up, down = (seen_by(model, tokens, norm, name, t * v) for t in (0, 0.2, -0.2))
            moved, shown = (up - down) / 2, gain.show(v[None].float())[0].double()
            assert close(moved / moved.norm(), shown / shown.norm()), (norm, name)
            assert not close(moved / moved.norm(), v / v.norm(), 0.05), "a gain of one would have been wrong"
            update = torch.randn(5, 32, generator=rng, dtype=torch.float64)
            blocked = update - (update @ shown / (shown @ shown)).outer(shown)
            assert (blocked @ moved).norm() < 1e-5 * (update @ moved).norm()
            # any other direction: what is left is the input's own, through the length
            tilted = seen_by(model, tokens, norm, name, 0.2 * steep) - z
            span = torch.stack([gain.show(steep[None].float())[0].double(), gain.show(x[None].float())[0].double()], 1)
            rest = tilted - span @ torch.linalg.lstsq(span, tilted).solution
            assert rest.norm() < 1e-5 * tilted.norm()


def seen_by(model: nn.Module, tokens: torch.Tensor, norm: str, name: str, shift: torch.Tensor) -> torch.Tensor:
    """Input of module `name` at the last token when the norm's input there is moved by `shift`."""
    seen = []

    def move(_: nn.Module, args: tuple) -> tuple:
        x = args[0].clone()
        x.view(-1, x.shape[-1])[-1] += shift
        return (x, *args[1:])

    handles = [model.get_submodule(norm).register_forward_pre_hook(move)]
    handles.append(model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0].clone())))
    with torch.no_grad():
        model(tokens)
    for handle in handles:
        handle.remove()
    return seen[0].reshape(-1, seen[0].shape[-1])[-1]


def norm_classes() -> list[tuple[type, float, bool]]:
    from transformers.models.cohere.modeling_cohere import CohereLayerNorm
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
    from transformers.models.gemma3n.modeling_gemma3n import Gemma3nRMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextRMSNorm

    plain, above_one = 0.0, 1.0
    return [
        (LlamaRMSNorm, plain, False),
        (GemmaRMSNorm, above_one, False),
        (Gemma3nRMSNorm, plain, False),  # named like Gemma's, and without its 1 +
        (Qwen3NextRMSNorm, above_one, False),
        (nn.RMSNorm, plain, False),
        (nn.LayerNorm, plain, True),
        (CohereLayerNorm, plain, True),  # not nn.LayerNorm, and takes the mean off all the same
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [2, 7, 32])
def test_gain_and_kind_are_measured(width, dtype):
    for kind, offset, centred in norm_classes():
        norm = kind(width).to(dtype)
        with torch.no_grad():
            for weight in norm.parameters():
                weight.copy_(torch.linspace(-0.7, 3, width) + (weight is getattr(norm, "bias", None)))
        gain = NormGain.of(norm, width)
        assert gain.centred is centred, kind
        torch.testing.assert_close(gain.gain, norm.weight.detach().float() + offset, rtol=1e-6, atol=1e-6)
        assert norm.weight.dtype == dtype, "the model's own norm is left alone"


def test_no_norm_shows_directions_as_they_are():
    rows = torch.randn(3, 6)
    assert torch.equal(NormGain.of(None, 6).show(rows), rows)


def test_pull_back_is_the_transpose_of_show():
    norm = nn.LayerNorm(6)
    nn.init.normal_(norm.weight)
    gain, v, c = NormGain.of(norm, 6), torch.randn(3, 6), torch.randn(4, 6)
    torch.testing.assert_close(gain.show(v) @ c.T, v @ gain.pull_back(c).T)


@pytest.mark.parametrize("module", [nn.Linear(6, 6), nn.Identity(), nn.MultiheadAttention(6, 1)])
def test_what_is_no_norm_is_refused(module):
    with pytest.raises(SiteNotFound, match=rf"^{type(module).__name__} is no norm: it does not give gain"):
        NormGain.of(module, 6)


def test_a_norm_of_another_width_is_refused():
    with pytest.raises(ShapeMismatch, match="^LayerNorm takes no stream of width 6. Was the factor found on another"):
        NormGain.of(nn.LayerNorm(8), 6)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "gpt2", "gpt_neox", "opt"])
def test_task_models_and_bare_models_have_the_same_roles_under_their_own_names(kind, family):
    model = family(kind)
    want = {n.split(layer_path(model)[:-1])[-1] for n, role in stream_roles(model).items() if role.layer is not None}
    for auto in (AutoModel, AutoModelForSequenceClassification, AutoModelForQuestionAnswering):
        if auto is AutoModelForQuestionAnswering and kind in ("gemma2",):
            continue  # transformers has none
        task = auto.from_config(model.config)
        roles = stream_roles(task)
        assert {n.split(layer_path(task)[:-1])[-1] for n, role in roles.items() if role.layer is not None} == want
        assert any(role.layer is None and role.side == "write" for role in roles.values()), "the embeddings too"


def test_narrow_embeddings_do_not_touch_the_stream(family):
    roles = stream_roles(family("opt", word_embed_proj_dim=16))
    assert roles["model.decoder.project_in"].side == "write"
    assert roles["model.decoder.project_out"].norm == "model.decoder.final_layer_norm"
    assert "model.decoder.embed_tokens" not in roles
    assert "lm_head" not in roles


def test_a_norm_behind_the_map_is_told_from_one_before_it(family):
    roles = stream_roles(family("gemma2"))
    assert roles["model.layers.1.mlp.down_proj"].norm == "model.layers.1.post_feedforward_layernorm"
    assert roles["model.layers.1.mlp.up_proj"].norm == "model.layers.1.pre_feedforward_layernorm"


@pytest.fixture
def unknown() -> nn.Module:
    """A model of an architecture that the table lacks."""
    model = BloomForCausalLM(BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4)).eval()
    model.config.model_type = "of_next_year"
    return model


STATED = {
    "transformer.h.*.self_attention.query_key_value": "read:transformer.h.*.input_layernorm",
    "transformer.h.*.mlp.dense_h_to_4h": "read:transformer.h.*.post_attention_layernorm",
    "*.dense": "write",
    "*.dense_4h_to_h": "write",
}


def test_an_unknown_family_that_cannot_be_watched_is_an_error_that_says_how_to_go_on():
    config = BloomConfig(
        vocab_size=64, hidden_size=32, n_layer=2, n_head=4, apply_residual_connection_post_layernorm=True
    )
    model = BloomForCausalLM(config).eval()
    model.config.model_type = "of_next_year"
    with pytest.raises(SiteNotFound) as raised:
        stream_roles(model)
    assert str(raised.value) == (
        "model type 'of_next_year' is not in the table of roles, and they cannot be told by watching it: in layers like "
        "'transformer.h.0': a layer scales or norms the stream that it adds to, so a direction is not the same behind it. State the "
        "roles, in a file for --roles or as roles={'*.attn.in_proj': 'read:*.norm1', '*.attn.out_proj': 'write'}"
    )
    assert layer_path(model) == "transformer.h.#"
    assert len(stream_roles(model, STATED)) == 8, "stated, they need no watching"


def test_stated_roles_are_as_good_as_the_table(unknown, passing, tokens):
    roles = stream_roles(unknown, STATED)
    inside = [role for role in roles.values() if role.layer is not None]
    assert len(inside) == 8
    entered, left = passing(unknown, tokens)
    for role in inside:
        assert role.layer == int(role.module.split(".")[2])
        if role.side == "read":
            assert torch.equal(entered[role.module], left[role.norm])


def test_stated_roles_join_the_table_of_a_known_family(family):
    model = family("llama")
    roles = stream_roles(model, {"*.mlp.down_proj": "read"})
    assert roles["model.layers.0.mlp.down_proj"].side == "read"
    assert roles["model.layers.0.mlp.up_proj"] == stream_roles(model)["model.layers.0.mlp.up_proj"]


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        (
            {"*.dense": "reed"},
            "role 'reed' of '*.dense' is not 'read', 'read:NORM', 'write' or 'write:NORM'. State one",
        ),
        (
            {"transformer.h.*.self_atention.dense": "write"},
            "role pattern 'transformer.h.*.self_atention.dense' matches no linear map; nearest: "
            "'transformer.h.1.self_attention.dense', 'transformer.h.0.self_attention.dense'. Correct it",
        ),
        ({"*.input_layernorm": "write"}, "role pattern '*.input_layernorm' matches no linear map"),
        (
            {"transformer.h.*.mlp.dense_h_to_4h": "read:transformer.h.*.norm2"},
            "no norm 'transformer.h.0.norm2' for map 'transformer.h.0.mlp.dense_h_to_4h'; nearest: ",
        ),
    ],
)
def test_bad_statements_say_what_is_wrong(unknown, stated, says):
    with pytest.raises(SiteNotFound) as raised:
        stream_roles(unknown, stated)
    assert str(raised.value).startswith(says)


def test_a_model_that_norms_its_stream_is_refused(family):
    with pytest.raises(SiteNotFound, match=r"^this 'opt' model norms the stream itself \(do_layer_norm_before=False\)"):
        stream_roles(family("opt", do_layer_norm_before=False))


def test_a_module_without_role_names_the_statement_to_make(family):
    roles = stream_roles(family("llama"))
    with pytest.raises(SiteNotFound) as raised:
        match_role("model.layers.11.mlp.up_prj", roles)
    assert str(raised.value) == (
        "no role known for adapted module 'model.layers.11.mlp.up_prj'; nearest: 'model.layers.1.mlp.up_proj', "
        "'model.layers.0.mlp.up_proj'. State it: roles={'model.layers.*.mlp.up_prj': 'read:NORM' or 'write'}"
    )


def test_a_config_that_lies_about_its_layers_is_refused(family):
    model = family("llama")
    model.config.num_hidden_layers = 3
    with pytest.raises(SiteNotFound, match=r"should have one stack of num_hidden_layers=3 layers, found \[\]"):
        layer_path(model)
    with pytest.raises(SiteNotFound, match="model type 'Linear' is not in the table of roles"):
        stream_roles(nn.Linear(2, 2))


def test_the_text_part_of_a_multimodal_model_is_found(quiet):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64}
    image = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with quiet():
        config = Gemma3Config(text_config=text, vision_config={**image, "image_size": 28, "patch_size": 14})
        roles = stream_roles(Gemma3ForConditionalGeneration(config))
    assert roles["model.language_model.layers.1.mlp.up_proj"].norm == (
        "model.language_model.layers.1.pre_feedforward_layernorm"
    )
    assert roles["lm_head"].norm == "model.language_model.norm"
