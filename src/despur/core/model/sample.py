"""Continuations in batches, each draw fixed by one seed, so that two models can be heard on the same luck."""

from collections.abc import Sequence
from typing import Any

import torch

from despur.core.errors import BadInput
from despur.core.model.anatomy import Anatomy
from despur.core.model.states import evaluating


@torch.no_grad()
def continue_rows(
    model: Any, tokenizer: Any, heads: Sequence[Sequence[int]], new: int, *, seed: int = 0
) -> list[list[int]]:
    """Sample what comes after each head at temperature 1, heads of any length padded on the left.

    The same seed, heads and vocabulary draw the same random numbers at every step, whatever the model says: two calls
    differ only where the models do. The global random state is left as it was.

    Args:
        model: A causal language model, edited or not.
        tokenizer: Its tokenizer.
        heads: Token ids to go on from.
        new: Tokens at most; less where the context is full.
        seed: Fixes the draws.

    Returns:
        The new tokens of each head, its end token included, padding left out.

    Raises:
        BadInput: no heads, or one that fills the context.
    """
    if not heads or not all(heads):
        raise BadInput("there is no text to go on from, or a row of it is empty. Give prompts of a token at least")
    longest = max(len(h) for h in heads)
    room = (Anatomy.of(model).context or 10**9) - longest
    if room < 1:
        raise BadInput(
            f"a prompt of {longest} tokens fills the model's context of {longest + room}. Give shorter prompts"
        )
    said = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = said if said is not None else tokenizer.eos_token_id
    ends = list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [ends]
    pad = next(i for i in (tokenizer.pad_token_id, *ends, 0) if i is not None)
    device = next(model.parameters()).device
    ids = torch.tensor([[pad] * (longest - len(h)) + list(h) for h in heads], device=device)
    mask = torch.tensor([[0] * (longest - len(h)) + [1] * len(h) for h in heads], device=device)
    with evaluating(model), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        out = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            repetition_penalty=1.0, max_new_tokens=min(new, room), pad_token_id=pad, eos_token_id=ends or None,
        )  # fmt: skip
    bodies: list[list[int]] = []
    for line in out[:, longest:].tolist():
        end = next((i for i, token in enumerate(line) if token in ends), len(line) - 1)
        bodies.append(line[: end + 1])
    return bodies
