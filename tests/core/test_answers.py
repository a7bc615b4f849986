"""Answers that are scored side by side are as likely as each alone, whatever the prompts share."""

import pytest
import torch

from despur.core.errors import BadInput
from despur.core.model.answers import answer_log_probs
from despur.core.model.capture import label_log_probs

PROMPTS = [[1, 5, 6, 7], [1, 5, 6, 9, 10, 11, 12], [1, 5, 6], [1, 5, 8, 20]]
ANSWERS = [[[30], [31, 32, 33]], [[30, 34], [35]], [[36, 37], [36, 38]], [[39], [39]]]
SEEN = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "gpt2", "gpt_neox")


def one_by_one(model, prompts, answers):
    rows = [
        {"input_ids": p + a, "labels": [-100] * len(p) + a}
        for p, some in zip(prompts, answers, strict=True)
        for a in some
    ]
    sums, counts = label_log_probs(model, rows)
    return sums.view(len(prompts), -1), counts.view(len(prompts), -1)


@pytest.mark.parametrize("kind", SEEN)
def test_side_by_side_is_as_one_by_one(kind, tiny):
    model = tiny(kind)
    sums, counts = answer_log_probs(model, PROMPTS, ANSWERS)
    wanted, lengths = one_by_one(model, PROMPTS, ANSWERS)
    assert torch.allclose(sums, wanted, atol=1e-4)
    assert torch.equal(counts, lengths)
    assert torch.allclose(sums[3, 0], sums[3, 1], atol=1e-5), "the same answer twice, and neither sees the other"


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_whatever_the_prompts_share_and_however_many_stand_in_a_batch(first, batch, tiny):
    prompts = [[first, *PROMPTS[0][1:]], *PROMPTS[1:]]  # 2: nothing is shared
    sums, _ = answer_log_probs(tiny(), prompts, ANSWERS, batch=batch)
    assert torch.allclose(sums, one_by_one(tiny(), prompts, ANSWERS)[0], atol=1e-4)


def test_an_adapter_counts(tiny, writer):
    model = writer()
    sums, _ = answer_log_probs(model, PROMPTS, ANSWERS)
    assert torch.allclose(sums, one_by_one(model, PROMPTS, ANSWERS)[0], atol=1e-4)
    assert not torch.allclose(sums, answer_log_probs(tiny(), PROMPTS, ANSWERS)[0], atol=1e-2)


def test_a_prompt_that_is_the_start_of_all_others_still_predicts(tiny):
    prompts = [[1, 5], [1, 5], [1, 5, 6]]
    sums, _ = answer_log_probs(tiny(), prompts, ANSWERS[:3])
    assert torch.allclose(sums, one_by_one(tiny(), prompts, ANSWERS[:3])[0], atol=1e-4)


@pytest.mark.parametrize(
    ("prompts", "answers", "words"),
    [
        ([[1], []], [[[2]], [[3]]], "every prompt needs tokens"),
        ([[1], [1]], [[[2]], [[3], [4]]], "as many answers as the others"),
        ([[1]], [[[2]], [[3]]], "got 1 prompts and 2 lists of answers"),
        ([[1]], [[[2], []]], "an answer has no tokens"),
    ],
)
def test_bad_input(prompts, answers, words, tiny):
    with pytest.raises(BadInput, match=words):
        answer_log_probs(tiny(), prompts, answers)
