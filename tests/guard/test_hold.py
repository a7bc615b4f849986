"""hold: only the factor's coordinates count, in units of their spread, wherever the stream is pushed."""

import pytest
import torch
from leak import random_factor

from despur.core import AddVector, Context, Site, Subspace, attach
from despur.core.errors import CannotAttach, SiteNotFound
from despur.core.model.capture import capture
from despur.guard import hold

LAYER = Site("model.layers.1")


@pytest.fixture
def factor() -> Subspace:
    return Subspace.orthonormal(random_factor(rank=2, width=32).read, site=LAYER)


def penalty(guard, model) -> float:
    return guard({"loss": torch.zeros(())}, Context(model))["loss"].item()


def test_penalty_is_the_squared_shift_in_units_of_the_spread(factor, own_text, tiny, lora):
    model = lora(tiny()).eval()
    guard = hold(factor, own_text, strength=0.5, budget=1.0)
    guard.bind(model)
    assert penalty(guard, model) == pytest.approx(0, abs=1e-6)
    seen, _ = capture(model, own_text.rows, [LAYER], drop_first=0)
    spread = factor.encode(seen[LAYER]).square().sum(1).mean()
    along = 0.3 * factor.read[0] + 0.4 * factor.read[1]
    with attach(model, {LAYER: AddVector(along)}):
        assert penalty(guard, model) == pytest.approx(50 * 0.25 / spread.item(), rel=1e-3)
    across = torch.ones(32) - factor.decode(factor.encode(torch.ones(32)))
    with attach(model, {LAYER: AddVector(across)}):
        assert penalty(guard, model) == pytest.approx(0, abs=1e-5), "what is not the factor is free"


def test_a_factor_needs_a_layer(own_text, tiny):
    with pytest.raises(CannotAttach, match="a layer as site"):
        hold(random_factor(rank=2, width=32), own_text)
    with pytest.raises(CannotAttach, match="a layer as site"):
        hold([], own_text)
    elsewhere = Subspace.orthonormal(torch.eye(1, 32), site=Site("model.layers.9"))
    with pytest.raises(SiteNotFound, match=r"model\.layers\.9"):
        hold(elsewhere, own_text).bind(tiny())
