"""Each further architecture: its roles against what it computes, and what a guard built on them keeps out of real passes."""

import copy

import pytest
import torch
from leak import random_factor
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from despur.core import Adapter, Anatomy, NormGain, Site, Subspace, find_module, match_role
from despur.core.model.families import FAMILIES
from despur.core.run.callback import guarded
from despur.guard import grasp
from despur.measure import _exchange, leakage
from despur.measure._exchange import exchange

GROUPED = {"intermediate_size": 64, "num_key_value_heads": 2}
HEADED = {**GROUPED, "head_dim": 8}
SLIDING = {**HEADED, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
VARIANTS = {
    **{kind: (kind, HEADED) for kind in ("smollm3", "seed_oss", "ernie4_5", "hunyuan_v1_dense", "helium", "arcee", "nemotron")},
    **{kind: (kind, HEADED) for kind in ("jais2", "cwm", "glm", "glm4", "apertus", "vaultgemma", "ministral3")},
    **{kind: (kind, GROUPED) for kind in ("olmo", "olmo2", "granite", "starcoder2", "cohere")},
    **{kind: (kind, SLIDING) for kind in ("ministral", "olmo3", "exaone4", "cohere2")},
    "stablelm": ("stablelm", GROUPED),
    "stablelm in parallel": ("stablelm", {**GROUPED, "use_parallel_residual": True}),
    "persimmon": ("persimmon", {"intermediate_size": 64}),
    "gptj": ("gptj", {"n_head": 4, "rotary_dim": 4}),
    "codegen": ("codegen", {"n_head": 4, "rotary_dim": 4}),
    "gpt_neo": ("gpt_neo", {"attention_types": [[["global", "local"], 1]], "num_heads": 4, "num_layers": 2}),
    "gpt_bigcode": ("gpt_bigcode", {"n_head": 4}),
    "bloom": ("bloom", {"n_head": 4}),
    "mpt": ("mpt", {"n_heads": 4, "max_seq_len": 64}),
    "falcon": ("falcon", {}),
    "falcon in turn": ("falcon", {"parallel_attn": False}),
    "falcon with two norms": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "phi4_multimodal": ("phi4_multimodal", GROUPED),
    "gemma3": ("gemma3", {}),
    "mistral3": ("mistral3", {}),
}  # fmt: skip
TEXT = {
    **HEADED,
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
IMAGE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IMAGE |= {"image_size": 28, "patch_size": 14}

SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "depthwise_separable_out_channel": 16}


def built(kind: str, options: dict, family) -> nn.Module:
    if kind == "gemma3":  # what reads pictures is as deep as what reads text
        options = {"text_config": TEXT, "vision_config": IMAGE}
    if kind == "mistral3":
        pixtral = {**IMAGE, "model_type": "pixtral", "head_dim": 8}
        options = {"text_config": {**TEXT, "model_type": "mistral"}, "vision_config": pixtral}
    if kind == "phi4_multimodal":
        audio = {"num_blocks": 2, "ext_pw_out_channel": 16, "nemo_conv_channels": 16, "input_size": 16, **SMALL}
        options = {**options, "vision_config": {**IMAGE, "crop_size": 28}, "audio_config": audio}
    return family(kind, **options)


# of one make with others that are asked each time
ALIKE = (
    "seed_oss",
    "ernie4_5",
    "hunyuan_v1_dense",
    "arcee",
    "jais2",
    "cwm",
    "apertus",
    "ministral3",
    "olmo",
    "ministral",
    "exaone4",
)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param(*variant, marks=[pytest.mark.slow] if name in ALIKE else [], id=name)
        for name, variant in VARIANTS.items()
    ],
)
def test_roles_are_what_the_model_computes_and_a_guard_holds_them(kind, options, family, passing, quiet, tokens, rows):
    with quiet():
        base = built(kind, options, family)
    base.requires_grad_(False)
    roles = Anatomy.of(base).roles
    entered, left = passing(base, tokens)
    check_writers(base, roles, entered, left)
    check_readers(base, roles, entered, left)
    model = adapted(base, quiet)
    adapted_maps = {n.removeprefix("base_model.model.") for n, m in model.named_modules() if hasattr(m, "base_layer")}
    assert len(adapted_maps) >= 8
    for name in adapted_maps:
        match_role(name, roles)
    assert Anatomy.of(model).roles == roles, "PEFT on top changes nothing"
    factor = random_factor(rank=3, width=32)
    free = learned(copy.deepcopy(model), tokens)
    held = learned(model, tokens, grasp(factor))
    leak = leakage(Adapter.of(held), base, factor)
    assert max(r.value for r in leak.values()) <= 1e-6
    basis = factor.read.double()
    for name in adapted_maps:
        role = roles[name]
        along = written if role.side == "write" else seen
        kept, lost = (along(m, base, role, basis, entered) for m in (held, free))
        assert kept < 1e-5, (name, "nothing new is read or written along the factor")
        assert lost > 1e-3, (name, "the control: it would be")
    assert_layers_may_be_left_out(free, rows)


def check_writers(base, roles, entered, left) -> None:
    anatomy = Anatomy.of(base)
    by = getattr(anatomy.config, "residual_multiplier", 1.0)
    for number, at in enumerate(anatomy.layers):
        out = [left[r.norm or r.module] for r in roles.values() if r.side == "write" and r.layer == number]
        assert len(out) == 2
        assert close(by * sum(out), left[at] - entered[at]), "what the writers give is what the layer adds"
    start = sum(left[r.norm or r.module] for r in roles.values() if r.side == "write" and r.layer is None)
    first = entered[anatomy.layers[0]]
    assert close(start / start.norm(), first / first.norm()), "embeddings write the stream, to a scale"


def check_readers(base, roles, entered, left) -> None:
    anatomy = Anatomy.of(base)
    by = getattr(anatomy.config, "residual_multiplier", 1.0)
    for role in roles.values():
        if role.side == "write":
            continue
        at = anatomy.layers[-1 if role.layer is None else role.layer]
        streams = [left[at]] if role.layer is None else [entered[at]]
        if role.layer is not None:
            out = [left[r.norm or r.module] for r in roles.values() if r.side == "write" and r.layer == role.layer]
            streams += [entered[at] + by * w for w in out]
        assert any(close(entered[role.norm or role.module], s) for s in streams), (role, "what is read is the stream")
        assert role.norm is None or torch.equal(entered[role.module], left[role.norm])


def adapted(base, quiet) -> nn.Module:
    torch.manual_seed(0)
    names = r".*(vision|multi_modal|_extend).*"  # of a multimodal model, the text part
    with quiet():
        return get_peft_model(
            copy.deepcopy(base), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", exclude_modules=names)
        )


def learned(model, tokens, *edits) -> nn.Module:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    with guarded(model, optimizer, *edits) if edits else torch.enable_grad():
        for _ in range(4):
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


@torch.no_grad()
def written(model, base, role, basis, entered) -> float:
    """How far a writer's output leaves the base's own along the factor; behind a norm, but for its length."""
    x = entered[role.module]
    now, before = (find_module(m, role.module)(x) for m in (model, base))
    change = (now - before) @ basis.T
    if role.norm is not None:
        now, before = (find_module(base, role.norm)(y) @ basis.T for y in (now, before))
        lengths = (now * before).sum(-1, keepdim=True) / before.square().sum(-1, keepdim=True)
        change = now - lengths * before
        return float(change.norm() / now.norm())
    return float(change.norm() / (now - before).norm())


@torch.no_grad()
def seen(model, base, role, basis, entered) -> float:
    """How a reader's new part reacts when the stream moves along the factor, and keeps its length."""
    x = entered[role.norm or role.module].reshape(-1, 32)[-1]
    centred = role.norm is not None and NormGain.of(find_module(base, role.norm), 32).centred
    level = x - x.mean() if centred else x
    _, _, free = torch.linalg.svd((basis @ level)[None])
    v = free[-1] @ basis  # of the factor, and at right angles to the stream as it is

    def new(t: float) -> Tensor:
        y = x[None] + t * v
        y = find_module(base, role.norm)(y) if role.norm is not None else y
        return (find_module(model, role.module)(y) - find_module(base, role.module)(y))[0]

    step = 0.2 * float(level.norm() / level.numel() ** 0.5)
    return float((new(step) - new(-step)).norm() / new(0.0).norm() / 0.2)


def assert_layers_may_be_left_out(model, rows) -> None:
    site = Site(Anatomy.of(model).layers[0])
    subspaces = [Subspace.orthonormal(random_factor(rank=3, width=32).read, site=site)]
    found = exchange(model.float().eval(), rows[:4], site, subspaces, 4, None)
    layers = _exchange._layers_up_to
    _exchange._layers_up_to = lambda *_: []
    try:
        hooked = exchange(model, rows[:4], site, subspaces, 4, None)
    finally:
        _exchange._layers_up_to = layers
    assert found.left_base.min() > 0
    torch.testing.assert_close(torch.tensor(found.left_base), torch.tensor(hooked.left_base), rtol=1e-3, atol=1e-5)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a.reshape(b.shape) - b).norm() <= tolerance * b.norm())


def test_every_family_of_the_table_is_tested():
    tested = {kind for kind, _ in VARIANTS.values()}
    older = {
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma2",
        "gemma3_text",
        "phi",
        "phi3",
        "gpt2",
        "gpt_neox",
        "opt",
    }
    assert set(FAMILIES) == (tested | older) - {"gemma3", "mistral3"}, (
        "of a multimodal model the text part's row counts"
    )
