"""What grasp promises, read off the weights: whatever the optimiser does, nothing is learned along the factor."""

import copy
import warnings

import pytest
import torch
from leak import OPTIMIZERS, random_factor, run
from peft import LoraConfig, get_peft_model
from torch import nn

from despur.core import Adapter, Site, Subspace
from despur.core.errors import CannotAttach, DespurError, ShapeMismatch, SiteNotFound
from despur.core.run.callback import GuardCallback, guarded
from despur.guard import grasp
from despur.measure import leakage

EXACT = 1e-6  # relative, float32
STEPS = 8
ADAMW = OPTIMIZERS["AdamW"]
SETTINGS = {
    "no clipping": {"clip": None},
    "accumulation": {"accumulate": 3},
    "dropout": {"lora": {"lora_dropout": 0.3}},
    "rslora": {"lora": {"use_rslora": True, "lora_alpha": 5}},
    "patterns": {"lora": {"rank_pattern": {"q_proj": 3, "down_proj": 5}, "alpha_pattern": {"up_proj": 40}}},
    "embedding and head": {"lora": {"target_modules": ["embed_tokens", "lm_head", "o_proj"]}},
}


def learn(model: nn.Module, tokens: torch.Tensor, *edits, steps: int = 5, lr: float = 1e-2, **options) -> nn.Module:
    """Fit two rows, guarded."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.1)
    torch.manual_seed(1)
    with guarded(model.train(), optimizer, *edits, **options):
        for _ in range(steps):
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


def lora(model: nn.Module, **options) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own, about Conv1D
        return get_peft_model(model, LoraConfig(**{"r": 4, "target_modules": "all-linear", **options}))


@pytest.fixture
def factor() -> Subspace:
    return random_factor(rank=3, width=32)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_exact_under_every_optimiser(name):
    factor = random_factor()
    assert max(run(OPTIMIZERS[name], [grasp(factor)], factor, steps=STEPS).values()) <= EXACT
    assert min(run(OPTIMIZERS[name], [], factor, steps=STEPS).values()) > 0.05, "the control: it would leak"


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_exact_under_every_setting(options):
    leak = run(ADAMW, [grasp(random_factor())], random_factor(), steps=STEPS, **options)
    assert leak.keys() == {"read", "write"}
    assert max(leak.values()) <= EXACT


@pytest.mark.parametrize(("side", "other"), [("read", "write"), ("write", "read")])
def test_a_side_that_is_not_asked_for_is_left_free(side, other):
    factor = random_factor()
    leak = run(ADAMW, [grasp(factor, side=side)], factor, steps=STEPS)
    free = run(ADAMW, [], factor, steps=STEPS)
    assert leak[side] <= EXACT
    assert leak[other] == pytest.approx(free[other], rel=0.2)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "gpt_neox", "opt"])
def test_exact_behind_norms_with_gains(kind, tiny, tokens, factor):
    """A norm's gain (and LayerNorm's mean) stands between stream and map: the guard must see through it."""
    base = tiny(kind)
    with torch.no_grad():
        for weight in base.parameters():
            if weight.ndim == 1:
                weight += 0.5 * torch.randn_like(weight)
    model = learn(lora(base), tokens, grasp(factor))
    leak = leakage(Adapter.of(model), base, factor)
    assert max(r.value for r in leak.values()) <= EXACT
    assert min(r.control for r in leak.values()) > 0.05


def test_one_factor_a_layer_and_one_a_norm(tiny, tokens):
    base = tiny()
    sites = ["model.layers.0", "model.layers.1", "model.layers.1.input_layernorm", "model.norm"]
    factors = [
        Subspace.orthonormal(random_factor(rank=2, width=32, seed=i).read, site=Site(s)) for i, s in enumerate(sites)
    ]
    model = learn(lora(base, target_modules="all-linear"), tokens, grasp(factors))
    adapter = Adapter.of(model)
    assert max(r.value for r in leakage(adapter, base, factors).values()) <= EXACT
    elsewhere = Subspace.orthonormal(factors[2].read, site=Site("model.layers.1"))  # the layer's writers do not hold it
    assert leakage(adapter, base, elsewhere)["write"].value > 0.05
    with pytest.raises(CannotAttach, match=r"two factors at site 'model\.norm'"):
        grasp([factors[3], factors[3]]).bind(model)


def test_held_from_the_start(tiny, tokens, factor):
    """LoRA's random A reads the factor before the first step already: what the first gradients see must not."""
    model = lora(tiny())
    weight = model.get_parameter("base_model.model.model.layers.0.mlp.up_proj.lora_A.default.weight")
    assert (weight.detach() @ factor.read.T).norm() > 0.01
    learn(model, tokens, grasp(factor), steps=0)
    assert (weight.detach() @ factor.read.T).norm() < EXACT


def test_strength_zero_is_the_unguarded_run_bit_for_bit(tiny, tokens, factor):
    plain, zero, half, full = (
        learn(lora(tiny()), tokens, *edits).state_dict()
        for edits in ([], [grasp(factor, strength=0.0)], [grasp(factor, strength=0.5)], [grasp(factor)])
    )
    assert all(torch.equal(plain[n], zero[n]) for n in plain)
    assert not all(torch.equal(plain[n], full[n]) for n in plain)
    assert not all(torch.equal(half[n], full[n]) or torch.equal(half[n], plain[n]) for n in plain)


@pytest.mark.parametrize(
    ("kind", "read", "write"),
    [("llama", "layers.0.mlp.up_proj", "layers.1.mlp.down_proj"), ("gpt2", "h.0.attn.c_attn", "h.1.mlp.c_proj")],
)
def test_whole_weights_keep_what_the_base_does_with_the_factor(kind, read, write, tiny, tokens, factor):
    model = tiny(kind, tie_word_embeddings=False)
    for name, p in model.named_parameters():
        p.requires_grad_(p.ndim == 2 and "norm" not in name and ".ln_" not in name)
    start = copy.deepcopy(model)
    learn(model, tokens, grasp(factor), lr=1e-2)
    v = factor.read
    for name, dim in ((read, "in"), (write, "out")):
        now, before = (
            next(m for n, m in x.named_modules() if n.endswith(name)).weight.detach() for x in (model, start)
        )
        if kind == "gpt2":  # Conv1D is (d_in, d_out)
            now, before = now.T, before.T
        change = now - before
        along = change @ v.T if dim == "in" else v @ change  # the norms' gains are 1 here
        if kind == "gpt2" and dim == "in":  # LayerNorm takes the mean off what the map sees
            along = change @ (v - v.mean(1, keepdim=True)).T
        assert change.norm() > 0.1
        assert along.norm() <= EXACT * now.norm()
        assert (before @ v.T if dim == "in" else v @ before).norm() > 0.01, "what the base does stays"


def test_a_trained_weight_that_both_reads_and_writes_is_refused(tiny, factor):
    model = tiny("gpt2")
    model.requires_grad_(False).transformer.wte.requires_grad_(True)
    with pytest.raises(CannotAttach, match=r"'transformer\.wte\.weight'.*tied"):
        grasp(factor).bind(model)


REFUSALS = {
    "DoRA": (lambda tiny: lora(tiny(), use_dora=True), {}, CannotAttach, "DoRA rescales.*use_dora=False"),
    "PiSSA": (lambda tiny: lora(tiny(), init_lora_weights="pissa"), {}, CannotAttach, "moves the base's own weights"),
    "lora_bias": (lambda tiny: lora(tiny("phi"), lora_bias=True), {}, CannotAttach, "lora_B.*bias"),
    "trainable biases": (lambda tiny: lora(tiny("phi"), bias="all"), {}, CannotAttach, "could bypass this guard"),
    "trainable norms": (lambda tiny: tiny(), {}, CannotAttach, "biases, norms or whole stacks"),
    "a copy to save": (lambda tiny: lora(tiny(), modules_to_save=["lm_head"]), {}, SiteNotFound, "lm_head"),
    "wrong width": (lambda tiny: lora(tiny()), {"width": 48}, ShapeMismatch, "width 48.*another model"),
    "unknown architecture": (lambda tiny: lora(tiny("openai-gpt")), {}, SiteNotFound, "'openai-gpt' is not in the table"),
    "no such site": (lambda tiny: lora(tiny()), {"site": "model.layers.7"}, CannotAttach, r"sites \['model.layers.7'\]"),
    "no map on that side": (
        lambda tiny: lora(tiny(), target_modules=["o_proj"]), {"side": "read"}, CannotAttach, "side='read'",
    ),
    "nothing trainable": (
        lambda tiny: lora(tiny()).requires_grad_(False), {}, CannotAttach, "would be projected|no trainable",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "options", "error", "said"), REFUSALS.values(), ids=REFUSALS)
def test_training_does_not_start_where_the_guard_would_not_hold(build, options, error, said, tiny):
    model = build(tiny)
    basis = random_factor(rank=2, width=options.get("width", 32)).read
    guard = grasp(Subspace.orthonormal(basis, site=Site(options.get("site", "*"))), side=options.get("side", "both"))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(error, match=said) as caught, guarded(model, optimizer, guard):
        pytest.fail("the block ran")
    assert isinstance(caught.value, DespurError)
    assert not optimizer._optimizer_step_pre_hooks
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())


def test_an_activation_edit_without_a_site_is_no_guard(tiny):
    from despur.core import AddVector

    with (
        pytest.raises(CannotAttach, match="names no site to act at"),
        guarded(lora(tiny()), torch.optim.SGD([nn.Parameter(torch.zeros(1))]), AddVector(torch.ones(32))),
    ):
        pass
    with pytest.raises(CannotAttach, match="no edits"):
        GuardCallback()
