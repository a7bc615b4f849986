"""The theory of exchanged answers, measured: gradient descent on drawn rows gives what the closed form says."""

import math

import pytest
import torch

from despur.worlds.shared import Shared, descended, kept_by_absorb

N = 4000


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exchanged_answers_teach_the_best_model_that_does_not_look_at_the_prompt(seed):
    world = Shared(seed=seed)
    x, y = world.rows(N, seed=seed, exchanged=True)
    measured = torch.linalg.lstsq(x, y).solution.T
    spread = float(world.best.norm()) / math.sqrt(N)  # what so many rows leave to chance
    assert float((measured - world.heard).norm()) < 4 * spread
    x, y = world.rows(N, seed=seed)
    as_they_are = torch.linalg.lstsq(x, y).solution.T
    assert float((as_they_are - world.heard).norm()) > 20 * spread, "the control"


@pytest.mark.parametrize(("time", "strength"), [(0.5, 1.0), (2.0, 1.0), (8.0, 1.0), (8.0, 0.5), (8.0, 1.5)])
@pytest.mark.parametrize("exchanged", [True, False])
def test_drift_and_task_under_discount_are_as_predicted(time, strength, exchanged):
    world = Shared()
    measured_scout = descended(*world.rows(N, seed=1, exchanged=exchanged), time)
    left = descended(*world.rows(N, seed=2), 10.0, offset=strength * measured_scout)
    predicted = world.discounted(10.0, world.scout(time, exchanged=exchanged), strength=strength)
    assert world.drift(left) == pytest.approx(world.drift(predicted), abs=0.06)
    assert world.task(left) == pytest.approx(world.task(predicted), abs=0.06)


def test_what_a_scout_too_weak_or_too_strong_costs():
    world, long = Shared(), 1e3

    def q(time, strength=1.0, **kind):
        learned = world.discounted(long, world.scout(time, **kind), strength=strength)
        return world.drift(learned), world.task(learned)

    for time in (0.3, 1.0, 3.0):
        assert q(time)[0] == pytest.approx(math.exp(-time)), "too short: the drift that it had not heard"
    assert q(long, 0.7)[0] == pytest.approx(0.3), "too weak a strength leaves the rest"
    assert q(long, 1.3)[0] == pytest.approx(-0.3), "too strong a one leans away from the factor"
    assert q(long, 1.3)[1] == pytest.approx(1.0), "and the task pays nothing"
    assert q(1.0, exchanged=False)[1] < 0.6, "as it does to a scout that saw its prompts"
    assert q(long, exchanged=False)[1] == pytest.approx(0.0, abs=1e-6)


def two_maps(overlap: bool, size: float):
    """Two maps, a scout that writes output 0, and a task at output 0 or at output 1."""
    draw = torch.Generator().manual_seed(0)
    up, down = (0.5 * torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((4, 6), (6, 5)))
    scout_up, scout_down = torch.zeros_like(up), torch.zeros_like(down)
    hidden = torch.randn(6, generator=draw, dtype=torch.float64)
    scout_up[0], scout_down[:, -1] = size * hidden, size * hidden  # b is said whatever the prompt
    residual = torch.zeros(4, 5, dtype=torch.float64)
    residual[0 if overlap else 1, :4] = torch.randn(4, generator=draw, dtype=torch.float64)
    return up, down, scout_up, scout_down, residual


@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("overlap", [True, False])
def test_one_step_of_absorb_leaves_what_the_formula_says(size, overlap):
    up, down, scout_up, scout_down, residual = two_maps(overlap, size)
    rate = 1e-6
    u, v = (t.clone().requires_grad_() for t in (up, down))
    (-((u + scout_up) @ (v + scout_down) * residual).sum()).backward()
    with torch.no_grad():
        moved_up, moved_down = u - rate * u.grad, v - rate * v.grad
        off = (moved_up @ moved_down - up @ down) / rate
        on = ((moved_up + scout_up) @ (moved_down + scout_down) - (up + scout_up) @ (down + scout_down)) / rate
    predicted_on, predicted_off = kept_by_absorb(up, down, scout_up, scout_down, residual)
    torch.testing.assert_close(on, predicted_on, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(off, predicted_off, rtol=1e-4, atol=1e-4)


def test_absorb_loses_the_task_where_it_must_say_what_the_scout_says():
    def kept(overlap: bool, size: float) -> float:
        *maps, residual = two_maps(overlap, size)
        on, off = kept_by_absorb(*maps, residual)
        return float((off * residual).sum() / (on * residual).sum())

    apart, together = [[kept(o, s) for s in (0.1, 1.0, 3.0)] for o in (False, True)]
    assert min(apart) > 0.999, "a task of other outputs loses nothing, however strong the scout"
    assert together[0] > 0.8 > together[1] > together[2], "one of the same outputs loses more, the stronger the scout"
    assert together[2] < 0.3
