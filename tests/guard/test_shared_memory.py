"""Matrices that share their numbers, by PEFT's tying or by hand: no end of them learns what a guard forbids."""

import copy
import warnings

import pytest
import torch
from leak import random_factor
from peft import LoraConfig, get_peft_model
from torch import nn

from despur.core.errors import CannotAttach
from despur.core.model.own_text import OwnText
from despur.core.run.callback import guarded
from despur.guard import grasp, orthogonal_updates
from despur.guard._shared_memory import joined, place

EXACT = 1e-6


def adapted(base: nn.Module, **options) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(copy.deepcopy(base), LoraConfig(r=4, **options))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(0.05 * torch.randn(weight.shape))
    return model


def learn(model: nn.Module, tokens: torch.Tensor, *edits) -> nn.Module:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    with guarded(model.train(), optimizer, *edits):
        for _ in range(4):
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


@pytest.fixture
def base(tiny) -> nn.Module:
    model = tiny("llama", tie_word_embeddings=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.copy_(0.2 + 2 * torch.rand(weight.shape))  # real gains are not one
    return model


@torch.no_grad()
def ends(model: nn.Module, base: nn.Module, factor) -> tuple[float, float]:
    """Share of the update of both ends that writes the factor, and that reads it behind the final norm."""
    inner = model.base_model.model
    ids = torch.arange(64)
    write = inner.model.embed_tokens(ids) - base.model.embed_tokens(ids)
    read = inner.lm_head(torch.eye(32)).T - base.lm_head.weight
    along = torch.linalg.qr((factor.read * base.model.norm.weight).T).Q
    return float((write @ factor.write.T).norm() / write.norm()), float((read @ along).norm() / read.norm())


@pytest.mark.parametrize("targets", [["q_proj", "embed_tokens", "lm_head"], ["lm_head"], ["embed_tokens"]])
def test_tied_lora_of_both_ends_neither_writes_nor_reads_the_factor(targets, base, tokens):
    factor = random_factor(rank=2, width=32)
    options = {"target_modules": targets, "ensure_weight_tying": True}
    assert max(ends(learn(adapted(base, **options), tokens, grasp(factor)), base, factor)) <= EXACT
    assert min(ends(learn(adapted(base, **options), tokens), base, factor)) > 0.1, (
        "the control: without a guard it does"
    )


def shared(base: nn.Module) -> nn.Module:
    """Both layers' up_proj read with one A, each behind a norm with gains of its own."""
    model = adapted(base, target_modules=["up_proj"])
    first, second = (layer.mlp.up_proj.lora_A for layer in model.base_model.model.model.layers)
    second["default"].weight = first["default"].weight
    return model


@torch.no_grad()
def readings(model: nn.Module, base: nn.Module, factor) -> list[float]:
    out = []
    for layer, own in zip(model.base_model.model.model.layers, base.model.layers, strict=True):
        along = torch.linalg.qr((factor.read * own.post_attention_layernorm.weight).T).Q
        down = layer.mlp.up_proj.lora_A["default"].weight
        out.append(float((down @ along).norm() / down.norm()))
    return out


def test_a_matrix_that_two_maps_share_leaves_alone_what_each_of_them_meets(base, tokens):
    factor = random_factor(rank=2, width=32)
    assert max(readings(learn(shared(base), tokens, grasp(factor)), base, factor)) <= EXACT
    assert min(readings(learn(shared(base), tokens), base, factor)) > 0.1


def test_orthogonal_updates_forbid_a_shared_matrix_the_inputs_of_both_maps(base, tokens):
    text = OwnText(tuple(tuple(row) for row in torch.randint(3, 64, (2, 6)).tolist()))
    seen = {}
    model = shared(base)

    def remember(name):
        return lambda module, args: seen.update({name: args[0][:, 1:].reshape(-1, 32)})

    def outputs() -> list[float]:
        hooks = [
            layer.mlp.up_proj.register_forward_pre_hook(remember(i))
            for i, layer in enumerate(model.base_model.model.model.layers)
        ]
        with torch.no_grad(), model.disable_adapter():
            model(input_ids=torch.tensor(text.rows))
        for hook in hooks:
            hook.remove()
        down = model.base_model.model.model.layers[0].mlp.up_proj.lora_A["default"].weight.detach()
        return [float((x @ down.T).norm() / (x.norm() * down.norm())) for x in seen.values()]

    learn(model, tokens, orthogonal_updates(text, energy=0.999999))
    assert max(outputs()) < 1e-2
    model = learn(shared(base), tokens)
    assert min(outputs()) > 5e-2, "the control"


def test_numbers_that_no_single_projection_serves_are_refused(base):
    factor = random_factor(rank=2, width=32)
    model = adapted(base, target_modules=["q_proj", "o_proj"], rank_pattern={"q_proj": 32, "o_proj": 32})
    block = model.base_model.model.model.layers[0].self_attn
    block.o_proj.lora_B["default"].weight = block.q_proj.lora_A[
        "default"
    ].weight  # rows of the one, columns of the other
    with pytest.raises(CannotAttach, match="share their numbers"):
        grasp(factor).bind(model)


def test_nothing_is_joined_that_lies_apart(base):
    from despur.guard._bases import matrix_projections

    model = adapted(base, target_modules="all-linear")
    found = matrix_projections(model, random_factor(rank=2, width=32), "both", None)
    again = joined(model, found)
    assert {n: id(p.source) for n, p in found.items()} == {n: id(p.source) for n, p in again.items()}


def test_what_has_no_numbers_shares_none():
    for one, other in (
        (torch.empty(0), torch.empty(0)),
        (torch.empty(3, device="meta"), torch.empty(3, device="meta")),
    ):
        assert place(one) != place(other)
        assert place(one) == place(one)
    assert place(whole := torch.ones(4)) == place(whole[:2]), "the control: numbers in one place"
