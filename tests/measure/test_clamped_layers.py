"""A push that one layer's clamp lets through is stopped by a later layer's where nothing else carries the behaviour."""

import math

import pytest
import torch

from despur.core.errors import BadInput
from despur.measure.clamped_layers import recovery_across_layers

X = torch.rand(4, 2, 5, generator=torch.Generator().manual_seed(0)) + 0.5
MIX = torch.tensor([0.0, 1.0, 0.0, 0.5, 0.0])  # how the later layer's feature reads the stream


def later(h):
    return torch.tanh(h @ MIX)  # (n, t)


def reads(h):
    return torch.cat([h[..., 0], later(h)], 1)


def test_what_the_later_clamp_reads_stays_shut_and_a_way_around_it_is_found():
    def only(h):
        return later(h)[:, -1] - later(X)[:, -1] - 0.02, reads(h)

    def around(h):
        return h[:, -1, 2] + 3 * later(h)[:, -1] - (X[:, -1, 2] + 3 * later(X)[:, -1]) - 0.1, reads(h)

    shut, found = (recovery_across_layers(b, X, budget=0.3) for b in (only, around))
    assert not shut.with_clamps.any()
    assert not shut.back.any(), "the clamped feature of the later layer is all that carries it"
    assert found.back.all()
    assert float(found.reactivated.max()) < 2e-3
    assert float(found.length.max()) <= 0.3 + 1e-5
    free = recovery_across_layers(only, X, budget=0.3, constrained=False)
    assert free.back.all(), "the control: without the constraint it is woken"
    assert float(free.reactivated.min()) > 0.02


def test_each_prompt_is_searched_alone():
    def around(h):
        return h[:, -1, 2] - 1.0, reads(h)

    one = recovery_across_layers(lambda h: around(h), X[:1], budget=0.3)
    assert torch.allclose(recovery_across_layers(around, X, budget=0.3).push[:1], one.push, atol=1e-5)


def test_faults_are_refused():
    with pytest.raises(BadInput, match="above 0"):
        recovery_across_layers(lambda h: (h[:, 0, 0], h[:, :, 0]), X, budget=0.0)
    with pytest.raises(BadInput, match="contains NaN"):
        recovery_across_layers(lambda h: (h[:, 0, 0] * math.nan, h[:, :, 0]), X)
