"""A behaviour is found again across the directions that are known, and only where something else carries it."""

import math

import pytest
import torch

from despur.core.errors import BadInput
from despur.measure.free_push import free_push

OFF = torch.tensor([[1.0, 1.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0]])  # one direction, given twice


def test_the_best_way_across_is_found():
    want = torch.tensor([3.0, 1.0, 0.0, 1.0])
    push = free_push(lambda v: v @ want, OFF, length=2.0, steps=40)
    across = want - want @ OFF[0] / 2 * OFF[0]
    assert torch.allclose(push, 2 * across / across.norm(), atol=1e-3)
    assert (OFF @ push).abs().max() < 1e-5


def test_what_the_known_direction_alone_carries_is_not_found():
    push = free_push(lambda v: torch.tanh(v @ OFF[0]), OFF, length=2.0)
    assert (OFF @ push).abs().max() < 1e-5
    control = free_push(lambda v: torch.tanh(v @ OFF[0]), torch.eye(4)[2:3], length=2.0)
    assert control @ OFF[0] > 1


def test_a_margin_with_a_top_is_climbed_and_not_passed():
    goal = torch.tensor([0.5, -0.5, 0.0, 0.0])
    assert (free_push(lambda v: -(v - goal).square().sum(), OFF, length=4.0, steps=60) - goal).norm() < 0.5


def test_faults_are_refused():
    with pytest.raises(BadInput, match="above 0"):
        free_push(lambda v: v.sum(), OFF, length=0.0)
    with pytest.raises(BadInput, match="contains NaN"):
        free_push(lambda v: (v * math.nan).sum(), OFF, length=1.0)
