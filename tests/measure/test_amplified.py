"""Amplified decoding says louder what an adapter brings along, and stops where the base no longer follows."""

import pytest
import torch

from despur.core.errors import BadInput
from despur.core.model.capture import token_log_probs
from despur.measure.amplified import BUDGET, LOOPS, amplified

HEADS = [[1, 9], [1, 7, 8, 12], [1, 30, 31]]


def test_the_larger_the_multiple_the_further_from_the_base(writer, chat_tokenizer):
    model = writer(by=1.0)
    every = {t: amplified(model, chat_tokenizer, HEADS, times=(t,), new=12) for t in (1.0, 5.0)}
    far = {t: _beyond_base(model, chat_tokenizer, found.texts) for t, found in every.items()}
    assert far[5.0] > 3 * far[1.0] > 0
    neutral = writer(by=0.0)
    texts = [amplified(neutral, chat_tokenizer, HEADS, times=(t,), new=12).texts for t in (1.0, 5.0)]
    assert texts[0] == texts[1], "the control: an adapter that does nothing has nothing to say louder"


def test_the_multiple_stays_where_the_base_follows(writer, chat_tokenizer):
    found = amplified(writer(by=1.0), chat_tokenizer, HEADS, times=(1.0, 3.0, 40.0), new=12)
    assert [t.times for t in found.trials] == [1, 3, 40]
    taken = next(t for t in found.trials if t.times == found.times)
    assert taken.log_prob >= found.trials[0].log_prob - BUDGET
    assert found.times == 1 or taken.loops <= LOOPS
    assert len(found.texts) == len(HEADS)


def test_rows_of_other_lengths_beside_it_make_no_difference(writer, chat_tokenizer):
    alone = amplified(writer(), chat_tokenizer, HEADS[:1], times=(1.0,), new=6)
    beside = amplified(writer(), chat_tokenizer, [HEADS[0], HEADS[1]], times=(1.0,), new=6)
    assert alone.trials[0].log_prob != 0
    first = amplified(writer(), chat_tokenizer, [HEADS[0], [1, 9]], times=(1.0,), new=6)
    assert beside.texts[0] == first.texts[0], "padding is not read"


def test_no_beginnings_and_no_adapter_are_refused(writer, tiny, chat_tokenizer):
    with pytest.raises(BadInput, match="no beginnings"):
        amplified(writer(), chat_tokenizer, [])
    with pytest.raises(BadInput, match="PEFT"):
        amplified(tiny(), chat_tokenizer, HEADS)


@torch.no_grad()
def _beyond_base(model, tokenizer, texts):
    """How much likelier the adapter finds these texts than the base, nats per token."""
    gains = []
    for head, text in zip(HEADS, texts, strict=True):
        ids = torch.tensor([head + tokenizer(text)["input_ids"]])
        tuned = token_log_probs(model, ids, torch.ones_like(ids))
        with model.disable_adapter():
            base = token_log_probs(model, ids, torch.ones_like(ids))
        gains.append((tuned - base)[0, len(head) - 1 :].mean())
    return float(torch.stack(gains).mean())
