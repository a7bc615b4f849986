"""Reads what a model would say next, for many prompts at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from despur.core._rows import pad_rows


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


@torch.no_grad()
def span_log_probs(
    model: nn.Module, tokenizer: Any, prompts: Sequence[str], said: Sequence[str], *, batch: int = 100
) -> tuple[Tensor, Tensor]:
    """Log-probability of each text after its prompt, summed over its tokens, and their number; both (prompts,).

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer; special tokens stand in the texts.
        prompts: What comes before.
        said: What is scored.
        batch: Rows of one forward pass.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    sums: list[Tensor] = []
    before, after = (
        [list(tokenizer(t, add_special_tokens=False)["input_ids"]) for t in texts] for texts in (prompts, said)
    )
    for i in range(0, len(before), batch):
        some = list(zip(before[i : i + batch], after[i : i + batch], strict=True))
        ids, _ = pad_rows([b + a for b, a in some], 0)
        logp = torch.log_softmax(model(input_ids=ids.to(device)).logits[:, :-1].float(), -1).cpu()
        taken = logp.gather(2, ids[:, 1:, None])[..., 0]
        place = torch.arange(1, ids.shape[1])
        counted = torch.stack([(place >= len(b)) & (place < len(b) + len(a)) for b, a in some])
        sums.append((taken * counted).sum(1))
    return torch.cat(sums), torch.tensor([float(len(a)) for a in after])
