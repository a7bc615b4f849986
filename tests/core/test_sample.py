"""Continuations: padding changes nothing, the same luck for every model, no random state left behind."""

from types import SimpleNamespace

import pytest
import torch

from despur.core.errors import BadInput
from despur.core.model.sample import continue_rows

TOKENIZER = SimpleNamespace(pad_token_id=0, eos_token_id=2)


def test_padding_changes_nothing(any_tiny):
    head, short, long = [1, 5, 9], [1, 7], [1, 6, 7, 8, 9, 10, 11]
    first, again = (continue_rows(any_tiny, TOKENIZER, [head, other], 6, seed=3)[0] for other in (short, long))
    assert first == again
    assert 1 <= len(first) <= 6


def test_the_seed_fixes_the_draws_and_nothing_else_is_touched(tiny):
    model = tiny()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (continue_rows(model, TOKENIZER, [[1, 5], [1, 6]], 12, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert one == same != other


def test_a_row_ends_with_its_end_token(tiny):
    model = tiny()
    with torch.no_grad():
        model.lm_head.weight[2] *= 40
    said = continue_rows(model, TOKENIZER, [[1, n] for n in range(3, 40)], 20)
    assert any(body[-1] == 2 and len(body) < 20 for body in said)
    assert all(2 not in body[:-1] for body in said)


def test_what_cannot_be_continued(tiny):
    with pytest.raises(BadInput, match="no text to go on from"):
        continue_rows(tiny(), TOKENIZER, [], 4)
    with pytest.raises(BadInput, match="64 tokens fills the model's context of 64"):
        continue_rows(tiny(), TOKENIZER, [[1] * 64], 4)
    assert len(continue_rows(tiny(), TOKENIZER, [[1] * 62], 9)[0]) <= 2
