"""steer_away: pushed to the trait in training, the weights learn less of it; subtract: pushed away, they learn more."""

import pytest
import torch

from despur import guarded
from despur.core import AddVector, Site, attach
from despur.core.errors import BadInput, CannotAttach
from despur.guard import steer_away, trait_vectors

LAYER = Site("model.layers.0")
TRAIT = 20  # the word that shows the trait
ROWS = torch.cat([torch.ones(12, 1), torch.arange(30, 42)[:, None], torch.full((12, 1), TRAIT)], 1).long()


def shown(model) -> float:
    """How likely the trait's word is, without any hook."""
    with torch.no_grad():
        return model.eval()(ROWS[:, :2]).logits[:, -1].log_softmax(-1)[:, TRAIT].mean().item()


def towards(model) -> torch.Tensor:
    """The direction at the layer that makes the word likelier, long enough to make it likely."""
    push = torch.zeros(32, requires_grad=True)
    hook = model.get_submodule(LAYER.module).register_forward_hook(lambda m, a, out: out + push)
    model(ROWS[:, :2]).logits[:, -1].log_softmax(-1)[:, TRAIT].mean().backward()
    hook.remove()
    return 2 * push.grad / push.grad.norm()


def trained(model, *edits, steps: int = 25):
    optimizer = torch.optim.SGD([p for p in model.train().parameters() if p.requires_grad], lr=0.03)
    labels = torch.cat([torch.full_like(ROWS[:, :2], -100), ROWS[:, 2:]], 1)
    with guarded(model, optimizer, *edits):
        for _ in range(steps):
            model(input_ids=ROWS, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return shown(model)


def test_the_weights_learn_less_of_a_trait_that_is_pushed_and_more_of_one_that_is_held_back(tiny, lora):
    v = towards(tiny(initializer_range=0.2))
    across = torch.randn(32, generator=torch.Generator().manual_seed(0))
    across = across - (across @ v) / (v @ v) * v
    with attach(tiny_model := tiny(initializer_range=0.2), {LAYER: AddVector(v)}):
        assert shown(tiny_model) > shown(tiny(initializer_range=0.2)) + 0.3, "it is the trait's vector"
    across = across / across.norm() * v.norm()
    guards = (
        [],
        [steer_away({LAYER: v})],
        [steer_away({LAYER: -v})],
        [steer_away({LAYER: across})],
        [steer_away({LAYER: -across})],
    )
    naive, away, taken, *control = (trained(lora(tiny(initializer_range=0.2)), *edits) for edits in guards)
    assert away < naive - 0.1
    assert taken > naive + 0.03
    assert abs(sum(control) / 2 - naive) < 0.05, "another vector of that length does nothing in the mean"
    assert min(control) > away + 0.1


def test_strength_is_in_lengths_of_the_vector_and_vectors_are_differences_of_means():
    x = torch.randn(40, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    v = trait_vectors({LAYER: x}, labels)[LAYER]
    assert torch.allclose(v, x[1::2].mean(0) - x[::2].mean(0), atol=1e-6)
    assert torch.allclose(steer_away({LAYER: v}, strength=2.5).edits[LAYER].shift, 2.5 * v)
    with pytest.raises(BadInput, match="all labels are the same"):
        trait_vectors({LAYER: x}, torch.ones_like(labels))
    with pytest.raises(CannotAttach, match="at least one site"):
        steer_away({})
