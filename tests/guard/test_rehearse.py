"""rehearse: the cached distribution against the dense formula, row by row."""

import copy

import pytest
import torch

from despur.core import Context
from despur.core.model.capture import log_probs
from despur.guard import OwnText, rehearse
from despur.guard._budget import draw_rows
from despur.guard.rehearse import KEPT_TOKENS, distance_to_base, remember_distribution
from despur.worlds import persona_base


@pytest.fixture
def nudged(lora):
    """The persona base (189 words: more than are cached), its adapter a little off zero."""
    model, tokenizer = persona_base()
    text = OwnText.sample(model, tokenizer, rows=9, max_new_tokens=20)
    text = OwnText(tuple(r[: 8 + i] for i, r in enumerate(text.rows)))
    model = lora(model).eval()

    def nudge(by: float):
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.copy_(by * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
        return model

    return nudge, text


def penalty(edit, model, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return edit({"loss": torch.zeros(())}, Context(model, rng=rng, tokens=60))["loss"]


@torch.no_grad()
def dense(model, row) -> torch.Tensor:
    """KL(base || model) at each position, over the whole vocabulary."""
    ids = torch.tensor([row])
    now = log_probs(model, ids, torch.ones_like(ids))
    with model.disable_adapter():
        base = log_probs(model, ids, torch.ones_like(ids))
    return (base.exp() * (base - now)).sum(-1)[0]


@pytest.mark.parametrize("by", [0.03, 0.1])
def test_top_tokens_and_the_rest_agree_with_the_dense_formula(by, nudged):
    nudge, text = nudged
    model = nudge(0)
    guard = rehearse(text, strength=0.5, budget=1.0)
    guard.bind(model)
    assert penalty(guard, model).item() == pytest.approx(0, abs=1e-6)
    model = nudge(by)
    chosen, _ = draw_rows([len(r) for r in text.rows], 60.0, step=0, rng=torch.Generator().manual_seed(0))
    assert len(chosen) > 2
    per_token = torch.cat([dense(model, text.rows[i]) for i in chosen])
    assert per_token.mean() > 5e-4
    assert penalty(guard, model).item() == pytest.approx(5 * per_token.mean().item(), rel=1e-2, abs=1e-4)


def test_what_is_not_cached_counts_as_one_more_outcome():
    base, now = (torch.randn(2, 5, 300, generator=torch.Generator().manual_seed(i)).log_softmax(-1) for i in range(2))
    now[..., 0] += 3  # most of the mass moves; in the base it lies beyond the cached tokens
    base[..., 0] -= 3
    base, now = base.log_softmax(-1), now.log_softmax(-1)
    top, index = base.topk(KEPT_TOKENS)
    p, q = (torch.cat([x, 1 - x.sum(-1, keepdim=True)], -1) for x in (top.exp(), now.gather(-1, index).exp()))
    assert p[..., -1].min() > 0.2
    want = (p * (p / q).log()).sum(-1)
    assert torch.allclose(distance_to_base(now, remember_distribution(base)), want, atol=1e-5)


def test_it_is_the_base_that_is_cached_whatever_the_adapter_is_at(nudged):
    nudge, text = nudged
    early, late = rehearse(text), rehearse(text)
    early.bind(nudge(0))
    model = nudge(0.1)
    model.train()
    late.bind(model)
    assert model.training
    model.eval()
    assert penalty(early, model).item() == pytest.approx(penalty(late, model).item(), rel=1e-4)


def test_the_penalty_pulls_back_to_the_base(nudged):
    nudge, text = nudged
    guard = rehearse(text)
    model = nudge(0.1)
    guard.bind(model)
    before = penalty(guard, model)
    before.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    norm = torch.stack([p.grad.norm() for p in trained]).norm()
    with torch.no_grad():
        for p in trained:
            p -= 0.02 * p.grad / norm
    assert penalty(guard, model) < 0.999 * before


def test_no_strength_costs_nothing(nudged):
    nudge, text = nudged
    model, guard = nudge(0.1), rehearse(text, strength=0.0)
    forward = copy.copy(model.forward)
    model.forward = lambda *a, **k: pytest.fail("a forward pass was paid")
    guard.bind(model)
    assert penalty(guard, model) == 0
    model.forward = forward


def test_every_row_is_cached_once(nudged):
    nudge, text = nudged
    guard = rehearse(text)
    guard.bind(nudge(0.0))
    assert {len(kept) for kept in guard.cache.values()} == {sum(len(row) for row in text.rows)}
