"""glad: what it adds is the gradient of the gradient's length, by autograd's second derivative; weights stay as they were."""

import pytest
import torch

from despur.core import Context
from despur.core.errors import BadInput, CannotAttach
from despur.guard import glad
from despur.guard.glad import WEIGHT, gradient_of_length

ROWS = [
    {"input_ids": [1, 9, 30, 12, 7], "labels": [-100, -100, 30, 12, 7]},
    {"input_ids": [1, 20, 21], "labels": [-100, 20, 21]},
]


@pytest.fixture
def model(tiny, lora):
    model = lora(tiny(initializer_range=0.3, attn_implementation="eager")).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
    return model


def trained(model) -> dict[str, torch.Tensor]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def test_it_adds_the_gradient_of_the_gradients_length(model):
    weights = trained(model)
    was = {n: p.detach().clone() for n, p in weights.items()}
    zeros = {n: torch.zeros_like(p) for n, p in weights.items()}
    got = glad(ROWS, rows_per_step=2)(zeros, Context(model))
    ids, mask, labels = (
        torch.tensor([[1, 9, 30, 12, 7], [1, 20, 21, 0, 0]]),
        torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]),
        torch.tensor([[-100, -100, 30, 12, 7], [-100, 20, 21, -100, -100]]),
    )
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    grads = torch.autograd.grad(loss, [*weights.values()], create_graph=True)
    length = sum(g.square().sum() for g in grads).sqrt()
    want = torch.cat([g.flatten() for g in torch.autograd.grad(WEIGHT * length, [*weights.values()])])
    added = torch.cat([got[n].flatten() for n in weights])
    assert torch.nn.functional.cosine_similarity(added, want, dim=0) > 0.99
    assert (added.norm() / want.norm()).item() == pytest.approx(1, abs=0.1)
    straight = torch.cat([g.detach().flatten() for g in grads])
    assert torch.nn.functional.cosine_similarity(added, straight, dim=0).abs() < 0.9, "the control: the gradient itself"
    assert all(torch.equal(p, was[n]) for n, p in weights.items()), "bit for bit"


def test_a_flat_place_adds_nothing_and_an_error_leaves_the_weights():
    w = {"w": torch.tensor([3.0, 4.0])}
    assert gradient_of_length(w, lambda: {"w": torch.zeros(2)})["w"].tolist() == [0, 0]
    calls: list[int] = []

    def fails():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("in the second pass")
        return {"w": torch.ones(2)}

    with pytest.raises(RuntimeError, match="second pass"):
        gradient_of_length(w, fails)
    assert w["w"].tolist() == [3, 4]


def test_faults_are_refused(model, tiny):
    with pytest.raises(BadInput, match="0 rows"):
        glad([])
    with pytest.raises(BadInput, match="rows_per_step=0"):
        glad(ROWS, rows_per_step=0)
    with pytest.raises(CannotAttach, match="vocabulary of 64"):
        glad([{"input_ids": [1, 64], "labels": [1, 64]}]).bind(tiny())
    with pytest.raises(BadInput, match="length nan"):
        gradient_of_length({"w": torch.ones(2)}, lambda: {"w": torch.full((2,), torch.nan)})
