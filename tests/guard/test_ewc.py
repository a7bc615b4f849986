"""ewc: the base's Fisher information against autograd row by row, and the spring against B A multiplied out."""

import pytest
import torch
from guarding import filled

from despur.core import Adapter, Context
from despur.core.errors import BadInput, CannotAttach
from despur.core.model.states import as_base
from despur.core.text.rows import batches
from despur.guard import OwnText, ewc
from despur.guard.ewc import WEIGHT

ROW = (1, 9, 30, 12)
MODULE = "model.layers.1.mlp.up_proj"


@pytest.fixture
def moved(tiny, lora):
    return filled(lora(tiny(initializer_range=0.4), lora_alpha=6).eval())


def dense_fisher(model) -> torch.Tensor:
    """Sum over the vocabulary of p(y) (d log p(y) / dW)², a mean over positions: nothing drawn."""
    weight = model.get_parameter(f"base_model.model.{MODULE}.base_layer.weight").requires_grad_(True)
    total = torch.zeros_like(weight)
    with as_base(model):
        logp = torch.log_softmax(model(input_ids=torch.tensor([ROW])).logits[0], -1)
        for t in range(len(ROW)):
            for y in range(logp.shape[-1]):
                (g,) = torch.autograd.grad(logp[t, y], weight, retain_graph=True)
                total += logp[t, y].detach().exp() * g.square()
    weight.requires_grad_(False)
    return total / len(ROW)


def test_fisher_is_that_of_single_draws(moved):
    want = dense_fisher(moved)
    edit = ewc(OwnText((ROW,) * 800), n_rows=800)
    edit.bind(moved)
    got = edit.fisher.values[MODULE]
    assert (got.sum() / want.sum()).item() == pytest.approx(1, rel=0.1)
    assert torch.corrcoef(torch.stack([got.flatten(), want.flatten()]))[0, 1] > 0.97
    shuffled = got.flatten()[torch.randperm(got.numel())]
    assert torch.corrcoef(torch.stack([shuffled, want.flatten()]))[0, 1] < 0.2, "the control"
    assert not any(p.requires_grad for n, p in moved.named_parameters() if "lora_" not in n), "no flag is left"


def test_the_diagonal_is_autograds_row_by_row(moved, own_text):
    """The same draws, squared a row at a time: what the guard has always computed."""
    edit = ewc(own_text, seed=5)
    edit.bind(moved)
    weight = moved.get_parameter(f"base_model.model.{MODULE}.base_layer.weight").requires_grad_(True)
    draw, total, whole = torch.Generator().manual_seed(5), torch.zeros_like(weight), torch.zeros_like(weight)
    with as_base(moved):
        for ids, mask, _ in batches(own_text.rows, size=min(16, len(own_text.rows)), pad=0):
            logp = torch.log_softmax(moved(input_ids=ids, attention_mask=mask).logits, -1)
            labels = torch.multinomial(logp.detach().exp().flatten(0, 1), 1, generator=draw).view(ids.shape)
            rows = (logp.gather(-1, labels[..., None]).squeeze(-1) * mask).sum(1)
            for row in rows:
                (g,) = torch.autograd.grad(row, weight, retain_graph=True)
                total, whole = total + g.square(), whole + g
    tokens = sum(map(len, own_text.rows))
    got = edit.fisher.values[MODULE]
    assert (got - total / tokens).norm() < 1e-5 * got.norm()
    assert (got - whole.square() / tokens).norm() > 0.5 * got.norm(), "the control: the sum's square"


def test_the_spring_is_that_of_the_update_multiplied_out(moved, own_text):
    edit = ewc(own_text, strength=2 / WEIGHT)
    edit.bind(moved)
    got = edit({"loss": torch.zeros(())}, Context(moved))["loss"].item()
    change = {n: u.scale * u.up @ u.down for n, u in Adapter.of(moved).updates.items()}
    want = sum((edit.fisher.values[n] * d.square()).sum() for n, d in change.items())
    assert got == pytest.approx(want.item(), rel=1e-3)
    assert got > 0


def test_what_is_no_linear_map_is_refused(tiny, lora, own_text):
    with pytest.raises(CannotAttach, match="embed_tokens"):
        ewc(own_text).bind(lora(tiny(), target_modules=["embed_tokens", "q_proj"]))
    with pytest.raises(BadInput, match="rows=0"):
        ewc(own_text, n_rows=0)
