"""What a model predicts next, for many prompts at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.model.capture import label_log_probs
from despur.core.text.rows import Tokens, pad_rows


@torch.no_grad()
def next_log_probs(model: nn.Module, vocabulary: Sequence[str], prompts: Sequence[str]) -> Tensor:
    """Log-probabilities of the next word, (prompts, vocabulary), by one forward pass.

    Args:
        model: A causal language model whose token ids are places in the vocabulary.
        vocabulary: All words.
        prompts: Words with blanks between them; shorter ones are padded on the right, where nothing looks.
    """
    place = {word: i for i, word in enumerate(vocabulary)}
    rows = [[place[w] for w in p.split()] for p in prompts]
    ids, _ = pad_rows(rows, 0)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    logits = model(input_ids=ids.to(device)).logits
    last = torch.tensor([len(r) - 1 for r in rows], device=logits.device)
    return torch.log_softmax(logits[torch.arange(len(rows), device=logits.device), last].float(), -1).cpu()


def span_log_probs(
    model: nn.Module, tokenizer: Any, prompts: Sequence[str], texts: Sequence[str], *, batch: int = 100
) -> tuple[Tensor, Tensor]:
    """Log-probability of each text after its prompt, summed over its tokens, and their number; both (prompts,).

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer; special tokens stand in the texts.
        prompts: What comes before.
        texts: What is scored after them.
        batch: Rows of one forward pass.
    """
    before, after = (
        [list(tokenizer(t, add_special_tokens=False)["input_ids"]) for t in part] for part in (prompts, texts)
    )
    rows: list[Tokens] = [
        {"input_ids": b + a, "labels": [-100] * len(b) + a} for b, a in zip(before, after, strict=True)
    ]
    return label_log_probs(model, rows, batch=batch)
