"""The tests check shapes: an array of another shape, and a value of another type, is refused where a signature says so."""

from typing import Any

import pytest
import torch
from checked import lazily
from jaxtyping import TypeCheckError

from despur.guard import OwnText
from despur.measure import free_push


def test_what_a_signature_rules_out_is_refused():
    wrong: Any = 3
    with pytest.raises(TypeCheckError, match="off"):
        free_push(lambda v: v.sum(), torch.zeros(3), length=1.0)
    with pytest.raises(TypeCheckError, match="origin"):
        OwnText(((1, 2),), wrong)


def test_a_function_inside_of_another_is_left_as_it_is_and_the_others_are_made_once():
    def inner(x: int) -> int:
        return x

    assert lazily(inner) is inner
    outer = lazily(free_push)
    assert outer is not free_push
    assert outer.__name__ == "free_push"
