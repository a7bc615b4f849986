"""The closed-form world shows what each kind of guard does, and its own solution is that of plain descent."""

import pytest
import torch

from despur.worlds import Linear

TIMES = (0.1, 0.5, 1.0, 3.0)


def reads(world: Linear, change) -> float:
    return float((change @ world.factor).norm())


@pytest.mark.slow  # of a kind with faster ones
def test_the_closed_form_is_what_small_steps_of_descent_reach():
    world = Linear()
    change, moments = torch.zeros_like(world.base), world.covariance()
    for _ in range(20000):
        change = change - 1e-4 * (change - world.task) @ moments
    assert torch.allclose(change, world.naive(2.0), atol=1e-4)
    assert not torch.allclose(change, world.naive(1.5), atol=1e-2)


def test_the_naive_tune_comes_to_read_the_factor_and_more_so_the_more_it_goes_along():
    for time in TIMES:
        by_link = [reads(world, world.naive(time)) for world in (Linear(correlation=r) for r in (0.0, 0.3, 0.6, 0.9))]
        assert by_link[0] < 1e-12, "nothing to read where nothing goes along"
        assert by_link == sorted(by_link)
        assert by_link[1] > 1e-3
    by_size = [reads(w, w.naive(0.5)) for w in (Linear(scale=s) for s in (0.25, 0.5, 1.0, 2.0))]
    assert by_size == sorted(by_size), "early on, a large factor is read first"
    assert reads(Linear(), Linear().naive(200.0)) < 1e-6, "and at convergence no longer: the task alone explains all"


def test_what_it_reads_costs_it_the_task_where_the_factor_goes_the_other_way():
    world = Linear()
    right, wrong = (world.error(world.naive(1.0), correlation=r)[0] for r in (0.8, -0.8))
    guarded = [world.error(world.read_guarded(1.0), correlation=r)[0] for r in (0.8, -0.8)]
    assert wrong > 2 * right
    assert guarded[0] == pytest.approx(guarded[1])
    assert guarded[1] < wrong


def test_a_read_guard_learns_the_task_reads_nothing_new_and_keeps_what_the_base_reads():
    world = Linear(correlation=0.95, scale=3.0)
    for time in TIMES:
        change = world.read_guarded(time)
        assert reads(world, change) < 1e-12
        assert torch.allclose((world.base + change) @ world.factor, world.base @ world.factor, atol=1e-12)
        assert world.error(change, correlation=-0.95)[1] < 1e-12, "the legitimate row"
    assert sum(world.error(world.read_guarded(30.0), correlation=-0.95)) < 1e-6, "the task is learned in full"
    other = Linear(correlation=0.95, scale=3.0, seed=1)  # a guard on a direction that is not the factor
    assert reads(other, world.read_guarded(1.0)) > 0.05


def test_ablation_in_training_loses_the_legitimate_row_with_the_hook_and_without():
    world = Linear()
    change = world.ablated(50.0)
    assert world.error(change, correlation=0.8, ablate=True)[0] < 1e-6, "the task is learned"
    assert world.error(change, correlation=0.0, ablate=True)[1] > 0.5, "with the hook the factor is gone"
    assert world.error(change, correlation=0.0)[1] > 0.5, "without, what made up for it comes on top"
    assert world.error(world.read_guarded(50.0), correlation=0.0)[1] < 1e-12
    assert torch.allclose(world.ablated(1.0), world.subtracted(1.0, 1.0))


def test_signed_subtraction_overshoots():
    world = Linear()

    def legitimate(strength: float) -> float:
        return float((world.base + world.subtracted(100.0, strength))[-1] @ world.factor)

    assert legitimate(1.0) == pytest.approx(1.0), "projected out in training, the reading stays what it was"
    assert legitimate(2.0) == pytest.approx(-1.0, abs=1e-3), "turned round in training, it is learned the other way"
    assert legitimate(1.5) < -1.5, "and by more than it was turned: what is left of it has to do all the work"


def test_the_factor_is_found_in_the_weights_of_a_complex_task_and_missed_in_those_of_a_simple_one():
    flat = Linear(spectrum=(1.0, 1.0, 1.0, 1.0), scale=2.0)
    shares = []
    for largest in (1.0, 1.5, 3.0, 10.0):
        world = Linear(spectrum=(1.0, largest, 1.0, 1.0), scale=2.0)
        shares.append(world.found(world.naive(0.2)))
    assert shares[0] == pytest.approx(flat.found(flat.naive(0.2)))
    assert shares[0] > 0.5
    assert shares[-1] < 1e-6
    by_rank = [flat.found(flat.naive(0.2), rank=r) for r in (1, 2, 3, 4)]
    assert by_rank == sorted(by_rank)
    assert flat.found(flat.read_guarded(0.2), rank=4) < 1e-12, "nothing to find after the guard"


def test_a_factor_is_read_off_the_first_step_only_where_its_link_stands_out_from_the_task_s_noise():
    def shares(m: int, rho: float, n: int) -> tuple[float, float]:
        world = Linear(correlation=rho, spectrum=(1.0,) * m, width=m + 2)
        return sum(world.found(world.first_step(n, seed=k)) for k in range(6)) / 6, world.found_in_first_step(float(n))

    measured, predicted = shares(32, 0.8, 4000)
    assert measured == pytest.approx(predicted, abs=0.06)
    assert 0.3 < predicted <= 0.64 / 1.64, "the rest of that direction is the task's own"
    assert shares(128, 0.3, 300)[0] < 0.05, "a complex task, a weak link, few rows: not at all"
    assert shares(32, 0.8, 60)[0] < 0.05, "the same link, but few rows"
    exact = Linear()
    assert exact.found_in_first_step(float("inf")) == pytest.approx(exact.found(exact.task @ exact.covariance()))
    assert Linear(correlation=0.0).found_in_first_step(100.0) == 0
