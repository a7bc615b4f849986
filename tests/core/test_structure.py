"""Roles found by watching a model are those of the table; of what no table has they are checked by moving weights; or they are refused."""

import copy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from despur.core import Anatomy
from despur.core.errors import SiteNotFound
from despur.core.model.base_modules import map_shape
from despur.core.model.stacks import stacks
from despur.core.model.structure import found_structure

TABLED = (
    "llama",
    "gemma2",
    "olmo2",
    "phi",
    "gpt2",
    "opt",
    "gpt_neox",
    "cohere",
    "bloom",
    "falcon",
    "gptj",
    "glm4",
    "starcoder2",
)
_PAGE = spec_from_file_location("architectures", Path(__file__).parents[2] / "docs" / "architectures.py")
_PAGES = module_from_spec(_PAGE)
_PAGE.loader.exec_module(_PAGES)
SIZES, LATENT = _PAGES.SIZES, _PAGES.LATENT  # those of the page that lists them all
NEW = {
    "mixtral": {},
    "qwen3_moe": {"decoder_sparse_step": 1, "mlp_only_layers": []},
    "gpt_oss": {},
    "llama4_text": {},
    "qwen2_moe": {"shared_expert_intermediate_size": 16, "decoder_sparse_step": 1, "mlp_only_layers": []},
    "deepseek_v3": {**LATENT, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1},
    "biogpt": {},
    "lfm2": {},
    "mamba": {},
}


def watched(model):
    anatomy = Anatomy.of(model)
    return found_structure(anatomy.model, anatomy.config, anatomy.layers, anatomy.width)


@pytest.fixture
def made():
    def make(kind, **options):
        sizes = {k: v for k, v in SIZES.items() if not (kind == "falcon" and k == "head_dim")}
        more = {
            "gptj": {"n_head": 4, "rotary_dim": 4},
            "bloom": {"n_head": 4},
            "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
        }
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **{**sizes, **more.get(kind, {}), **options})
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()

    return make


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TABLED)
def test_what_is_watched_is_what_the_table_says(kind, made):
    model = made(kind)
    found = watched(model)
    assert dict(found.roles) == Anatomy.of(model).roles
    assert not found.inner
    assert Anatomy.of(copy.deepcopy(model)).is_tabled


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_precision_and_an_adapter_on_top_change_nothing(kind, made, lora):
    plain = dict(watched(made(kind)).roles)
    assert dict(watched(made(kind).bfloat16()).roles) == plain
    assert dict(watched(lora(made(kind), init_lora_weights=False)).roles) == plain


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "options"), NEW.items(), ids=NEW)
def test_maps_of_other_architectures_act_where_their_role_says(kind, options, made):
    model = made(kind, **options)
    anatomy = Anatomy.of(model)
    assert not anatomy.is_tabled
    stacked = stacks(anatomy.modules)
    maps = {n for n, m in anatomy.modules.items() if map_shape(m)} | set(stacked)
    assert maps == set(anatomy.roles) | anatomy.inner, "each map is one or the other"
    random_state = torch.random.get_rng_state()
    for name, role in anatomy.roles.items():
        if name in stacked:
            assert stack_acts_along(model, anatomy, name, role, stacked[name]), name
            continue
        if role.side == "write" and role.layer is not None:
            assert moves_the_stream_along(model, anatomy, name, role), name
        if role.side == "read" and role.layer is not None:
            assert hears_the_norm_only(model, anatomy, name, role), name
    torch.random.set_rng_state(random_state)


@pytest.mark.filterwarnings("ignore")
def test_what_a_fresh_model_does_faintly_counts_as_well():
    """Fresh weights are small: a convolution between writers and stream, or a gate between norm and readers, was lost in rounding."""
    inkling = Anatomy.of(_PAGES.built("inkling_text"))
    assert not [n for n in inkling.roles if n.endswith("o_proj")], "a short convolution stands behind it"
    assert {n.rpartition(".")[2] for n in inkling.roles} >= {"q_proj", "k_proj", "v_proj"}
    with pytest.raises(SiteNotFound, match="q_a_proj' reads something made of the stream that no norm here makes"):
        _ = Anatomy.of(_PAGES.built("axk2")).roles


@torch.no_grad()
def moves_the_stream_along(model, anatomy, name, role) -> bool:
    """What is added to a writer's output is added to the stream behind its layer, if nothing behind it reads."""
    ids = torch.arange(3, 10)[None]
    push = torch.randn(32)
    seen = []
    layer = anatomy.modules[anatomy.layers[role.layer]]
    readers = [(n, r) for n, r in anatomy.roles.items() if r.side == "read" and r.layer == role.layer]
    later = {n if n in anatomy.modules else r.norm for n, r in readers}  # experts: by what their norm gives them
    still = {n: anatomy.modules[n] for n in later}
    kept: dict[str, torch.Tensor] = {}

    def run(pushed: bool) -> torch.Tensor:
        hooks = [
            layer.register_forward_hook(lambda m, a, o: seen.append((o[0] if isinstance(o, tuple) else o).clone()))
        ]
        for n, m in still.items():  # readers go on reading what they read before

            def hold(module, args, output, n=n):
                if not pushed:
                    kept.setdefault(n, output.clone() if isinstance(output, torch.Tensor) else output)
                    return None
                return kept[n] if isinstance(output, tuple) or kept[n].shape == output.shape else output

            hooks.append(m.register_forward_hook(hold))
        if pushed:
            hooks.append(anatomy.modules[name].register_forward_hook(lambda m, a, o: o + push.to(o)))
        model(input_ids=ids, use_cache=False)
        for hook in hooks:
            hook.remove()
        return seen.pop()

    before = run(False)
    moved = (run(True) - before).reshape(-1, 32)
    if role.norm is not None:
        return bool(moved.norm() > 0)
    rows = moved[moved.norm(dim=1) > 1e-6]
    cosines = nn.functional.cosine_similarity(rows, push[None])
    return bool(len(rows)) and bool((cosines > 0.99).float().mean() > 0.5)


@torch.no_grad()
def hears_the_norm_only(model, anatomy, name, role) -> bool:
    """What a reader gets is what its norm gives, row for row."""
    gets, gives = [], []
    hooks = [anatomy.modules[name].register_forward_pre_hook(lambda m, a: gets.append(a[0].reshape(-1, 32)))]
    if role.norm is not None:
        hooks.append(anatomy.modules[role.norm].register_forward_hook(lambda m, a, o: gives.append(o.reshape(-1, 32))))
    model(input_ids=torch.arange(3, 10)[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return role.norm is None or bool(torch.cdist(gets[0], gives[0]).amin(1).max() < 1e-4)


@torch.no_grad()
def stack_acts_along(model, anatomy, name, role, stack) -> bool:
    """Rank one is added to every expert: what it writes moves the stream along its output; what it reads, off all inputs, is nothing."""
    layer, norm, owner = (
        anatomy.modules[n] for n in (anatomy.layers[role.layer], role.norm or "", name.rpartition(".")[0])
    )
    weight, was = owner.get_parameter(name.rpartition(".")[2]), {}

    def run(change: torch.Tensor | None) -> torch.Tensor:
        hooks = [
            layer.register_forward_hook(lambda m, a, o: was.update(out=(o[0] if isinstance(o, tuple) else o).clone())),
            norm.register_forward_hook(lambda m, a, o: was.update(norm=o if role.norm else None)),
        ]
        kept = weight.clone()
        if change is not None:
            weight.add_(change.T if stack.transposed else change)
        model(input_ids=torch.arange(3, 10)[None], use_cache=False)
        weight.copy_(kept)
        for hook in hooks:
            hook.remove()
        return was["out"].reshape(-1, 32)

    out, into = (torch.randn(size) for size in stack.shape)
    before = run(None)
    if role.side == "write":
        moved = run(torch.outer(out, into)) - before
        rows = moved[moved.norm(dim=1) > 1e-6]
        return bool(len(rows)) and bool((nn.functional.cosine_similarity(rows, out[None]).abs() > 0.999).all())
    met = was["norm"].reshape(-1, 32).clone()
    off = into - torch.linalg.pinv(met) @ (met @ into)
    blind, seen = (float((run(torch.outer(out, x)) - before).norm()) for x in (off, met[0]))
    return blind < 1e-4 * seen


class Odd(nn.Module):
    """A layer with something in it that no role can say."""

    def __init__(self, layer: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = layer, kind
        self.more = nn.Linear(32, 32, bias=False)

    def forward(self, hidden_states, *args, **kwargs):
        if self.kind == "scaled stream":
            return self.inner(hidden_states, *args, **kwargs) - 0.1 * hidden_states
        if self.kind == "both sides":
            return self.inner(hidden_states, *args, **kwargs) + self.more(hidden_states)
        if self.kind == "a norm without a module":
            z = nn.functional.layer_norm(
                hidden_states, (32,), torch.linspace(0.5, 2, 32), torch.linspace(-0.5, 0.5, 32)
            )
            return self.inner(hidden_states, *args, **kwargs) + 0.1 * torch.tanh(self.more(z))
        return self.inner(hidden_states, *args, **kwargs) * torch.linspace(0.5, 2, 32)


@pytest.mark.parametrize("kind", ["scaled stream", "both sides", "a norm without a module", "gains"])
def test_what_cannot_be_told_is_refused(kind, made):
    model = made("llama")
    assert watched(model).roles, "the control"
    model = made("llama")
    model.model.layers = nn.ModuleList(Odd(layer, kind) for layer in model.model.layers)
    with pytest.raises(SiteNotFound):
        watched(model)


def test_stated_roles_still_overrule(made):
    model = made("mixtral")
    name = "model.layers.0.self_attn.o_proj"
    assert Anatomy.of(model).roles[name].side == "write"
    assert Anatomy.of(model, {"*.layers.0.self_attn.o_proj": "read"}).roles[name].side == "read"
