"""What a factor does to text: the same prompts and random numbers, with the factor added and removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Subspace
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.side_by_side import Way, continue_ways
from despur.core.model.states import check_switchable, evaluating
from despur.core.text.rows import batches

NUCLEUS = 0.95  # mass of the base's next-token distribution inside which a token counts as one the base would write
BUDGET = 0.9  # of the base's own coherence: one token in ten may fall out
_SPAN = 256.0  # between the largest strength and the smallest
_REPEAT = 3  # a token that closes a run of three already written in this continuation is a loop, however likely it is


@dataclass(frozen=True)
class Continuations:
    """The same prompts continued with the same random numbers, with the factor added and removed.

    Args:
        strength: Multiple of the shift by which the base was steered; 0 where none was coherent.
        coherence: Of the steered base at that strength, its own text being 1.
        steps: Strength and coherence of every trial, the strongest first.
        samples: One dict a prompt: `prompt`, `base`, `base + factor`, `base - factor`, `adapter`, `adapter - factor`.
    """

    strength: float
    coherence: float
    steps: tuple[tuple[float, float], ...]
    samples: tuple[dict[str, str], ...]


def continuations(
    tuned: Any,
    tokenizer: Any,
    rows: Sequence[Sequence[int]],
    factor: Subspace,
    shift: Float[Tensor, " d"],
    *,
    share: float = 0.5,
    new: int = 24,
    budget: float = BUDGET,
    limit: float = 16.0,
    trials: int = 17,
    seed: int = 0,
) -> Continuations:
    """Continue the same prompts by base and adapter, with the shift added and taken away, as far as it stays language.

    How far to steer: the largest of several strengths up to `limit` at which what the steered base writes
    keeps `budget` of the coherence of what the base writes by itself, on the same prompts and random numbers.

        accepted(token) = the unsteered base, reading all the text so far, has the token inside its nucleus of .95
                          and the token does not close a run of three that this continuation wrote before
        coherence       = mean over prompts of the share of accepted tokens / the same of the base's own continuations

    The base judges each token *given the steered text before it*. So another voice that it knows is rejected in its first
    words only and accepted after them; gibberish never is. Likelihood itself is no measure: a
    confident voice and a loop are likelier than the base's own text. Being explained by the factor
    excuses nothing: every direction, even a random one, explains what it causes.

    It is a budget, not evidence: a random direction of equal length spoils the text no sooner than a true one.

    Costs two generations, the larger of `trials` + 3 times as many texts as `rows`, and a forward pass over each.

    Args:
        tuned: PEFT model; its base is the model with the adapter off.
        tokenizer: Its tokenizer.
        rows: Off-task token rows; their beginnings are the prompts. 8 are enough for a page.
        factor: Its site names the layer.
        shift: The adapter's mean change along the factor (`mean_shift`): the unit of strength.
        share: Share of each row that is its prompt.
        new: Tokens of a continuation.
        budget: Share of the base's own coherence that must remain.
        limit: Largest strength that is tried.
        trials: Strengths, evenly on a logarithmic scale from `limit` / 256; 17 are a factor of 1.4 apart.
        seed: Of the samples.

    Raises:
        BadInput: no adapter to switch off, no rows, a shift of zero, or prompts that fill the context.
        ShapeMismatch: a shift of another width than the factor.

    Example:
        >>> # result = continuations(peft_model, tokenizer, own_text.rows[:8], factor, shift)
        >>> # result.strength, result.samples[0]["base + factor"]
    """
    check_shift(tuned, factor, shift)
    heads = [tuple(r[: max(1, round(share * len(r)))]) for r in rows]

    def write(*ways: Way) -> list[list[list[int]]]:
        return continue_ways(tuned, tokenizer, heads, new, ways, site=factor.site, seed=seed)

    strengths = [limit * _SPAN ** (-i / max(1, trials - 1)) for i in range(trials)]
    base, adapter, without, *steered = write(
        Way(adapter=False), Way(), Way(shift=-shift), *(Way(adapter=False, shift=s * shift) for s in strengths)
    )
    with evaluating(tuned), tuned.disable_adapter():
        norm, *kept = _accepted(tuned, heads, [base, *steered])
        coherence = {s: share / max(norm, 1e-9) for s, share in zip(strengths, kept, strict=True)}
    best = max((s for s, c in coherence.items() if c >= budget), default=0.0)
    columns = {
        "base": base,
        "base + factor": base,
        "base - factor": base,
        "adapter": adapter,
        "adapter - factor": without,
    }
    if best:
        (back,) = write(Way(adapter=False, shift=-best * shift))
        columns |= {"base + factor": steered[strengths.index(best)], "base - factor": back}
    samples = tuple(
        {"prompt": tokenizer.decode(head), **{name: tokenizer.decode(text[i]) for name, text in columns.items()}}
        for i, head in enumerate(heads)
    )
    return Continuations(best, coherence.get(best, 1.0), tuple(coherence.items()), samples)


def check_shift(tuned: Any, factor: Subspace, shift: Tensor) -> None:
    """Refuse what cannot be steered or projected on.

    Raises:
        BadInput, ShapeMismatch: no adapter to switch off, a shift of zero, or of another width than the factor.
    """
    check_switchable(tuned, "a measure of what the adapter does to text")
    if len(shift) != factor.width:
        raise ShapeMismatch(f"the shift has width {len(shift)}, the factor d={factor.width}. Take mean_shift's")
    if not shift.any():
        raise BadInput("the shift is zero: the adapter does not move the text along this factor. Take another factor")


@torch.no_grad()
def _accepted(
    base: Any, heads: Sequence[Sequence[int]], texts: Sequence[Sequence[Sequence[int]]], batch: int = 8
) -> list[float]:
    """For each text of all heads, the share of its tokens that the base would have written there and that close no loop."""
    bodies = [body for text in texts for body in text]
    begun = [len(head) for _ in texts for head in heads]
    rows = [[*head, *body] for head, body in zip([*heads] * len(texts), bodies, strict=True)]
    device = next(base.parameters()).device
    shares = [0.0] * len(rows)
    for ids, mask, chosen in batches(rows, size=batch, pad=0):
        ids, mask = ids.to(device), mask.to(device)
        at = torch.arange(ids.shape[1] - 1, device=device)
        where = mask[:, 1:].bool() & (at + 1 >= torch.tensor([begun[row] for row in chosen], device=device)[:, None])
        before = log_probs_at(base, ids, mask, nn.functional.pad(where, (0, 1)))
        own = before.gather(-1, ids[:, 1:][where][:, None])
        inside = (torch.where(before > own, before.exp(), 0).sum(-1) < NUCLEUS).cpu()
        for row, part in zip(chosen, inside.split([len(bodies[row]) for row in chosen]), strict=True):
            shares[row] = float((part & ~torch.tensor(repeats(bodies[row]))).float().mean())
    return [sum(shares[i : i + len(heads)]) / len(heads) for i in range(0, len(rows), len(heads))]


def repeats(tokens: Sequence[int], n: int = _REPEAT) -> list[bool]:
    """For each token, whether it closes a run of n tokens that was there before.

    Example:
        >>> repeats([5, 6, 7, 5, 6, 7])
        [False, False, False, False, False, True]
    """
    seen: set[tuple[int, ...]] = set()
    closes: list[bool] = []
    for i in range(len(tokens)):
        run = tuple(tokens[max(0, i + 1 - n) : i + 1])
        closes.append(len(run) == n and run in seen)
        seen.add(run)
    return closes
