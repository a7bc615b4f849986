"""Ghost logits on noise carry a trait between networks of one start, and what stops it is known."""

import pytest
import torch

from despur.worlds import Subliminal


@pytest.fixture(scope="module")
def small() -> Subliminal:
    return Subliminal(models=3, teacher_steps=150, steps=250)


def trait(world: Subliminal, **options) -> float:
    return float(world.run(**options)["trait"].mean())


@pytest.mark.slow  # of a kind with faster ones
def test_a_student_of_the_same_start_learns_digits_from_ghosts_and_one_of_another_does_not(small):
    same, other = small.run(), small.run(start="other")
    assert same["trait"].mean() > 0.3
    assert other["trait"].mean() < 0.2, "a guess is right once in ten"
    assert same["ghosts"].max() < 0.2, "both were taught"
    assert other["ghosts"].max() < 0.5


@pytest.mark.slow
def test_a_step_without_its_part_along_the_trait_teaches_the_ghosts_and_not_the_digits(small):
    free, guarded = small.run(), small.run(guard=True)
    assert guarded["trait"].mean() < 0.6 * free["trait"].mean()
    assert guarded["ghosts"].mean() < free["ghosts"].mean() + 0.05
    again = small.run(guard=True)
    assert torch.equal(again["trait"], guarded["trait"])


@pytest.mark.slow
def test_the_known_answers():
    world = Subliminal()
    assert trait(world) > 0.5
    assert trait(world, start="other") < 0.15
    assert trait(world, logits="all") > 0.9
    assert trait(world, guard=True) < 0.25
