"""Reads what a model would say next, for many prompts at once."""

from collections.abc import Sequence

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
