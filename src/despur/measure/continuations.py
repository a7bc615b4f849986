"""What a factor does to text: the same prompts and random numbers, with the factor added and removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import AddVector, Subspace, attach
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.model.capture import log_probs
from despur.core.model.sample import continue_rows
from despur.core.model.states import check_switchable, evaluating
from despur.core.text.rows import batches

NUCLEUS = 0.95  # mass of the base's next-token distribution inside which a token counts as one the base would write
BUDGET = 0.9  # of the base's own coherence: one token in ten may fall out
_REPEAT = 3  # a token that closes a run of three already written in this continuation is a loop, however likely it is


@dataclass(frozen=True)
class Continuations:
    """The same prompts continued with the same random numbers, with the factor added and removed.

    Args:
        strength: Multiple of the shift by which the base was steered; 0 where none was coherent.
        coherence: Of the steered base at that strength, its own text being 1.
        steps: Strength and coherence of every trial, in the order of the search.
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
    halvings: int = 6,
    seed: int = 0,
) -> Continuations:
    """Continue the same prompts by base and adapter, with the shift added and taken away, as far as it stays language.

    How far to steer is found by bisection: the largest strength in (0, `limit`] at which what the steered base writes
    keeps `budget` of the coherence of what the base writes by itself, on the same prompts and random numbers.

        accepted(token) = the unsteered base, reading all the text so far, has the token inside its nucleus of .95
                          and the token does not close a run of three that this continuation wrote before
        coherence       = mean over prompts of the share of accepted tokens / the same of the base's own continuations

    The base judges each token *given the steered text before it*. So another voice that it knows is rejected in its first
    words only and accepted after them; gibberish never is. Likelihood itself is no measure: a
    confident voice and a loop are likelier than the base's own text. Being explained by the factor
    excuses nothing: every direction, even a random one, explains what it causes.

    It is a budget, not evidence: a random direction of equal length spoils the text no sooner than a true one.

    Costs `halvings` + 5 generations of a batch as large as `rows`, and a forward pass a trial.

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
        halvings: Of the interval of strengths, on a logarithmic scale from `limit` / 256; 6 leave 9 %.
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
    trials: list[tuple[float, float]] = []

    def write(strength: float) -> list[list[int]]:
        edits = {factor.site: AddVector(strength * shift)} if strength else {}
        with attach(tuned, edits):
            return continue_rows(tuned, tokenizer, heads, new, seed=seed)

    texts: dict[float, list[list[int]]] = {}

    def coherent(strength: float) -> bool:
        texts[strength] = write(strength)
        trials.append((strength, _accepted(tuned, heads, texts[strength]) / max(norm, 1e-9)))
        return trials[-1][1] >= budget

    with (
        evaluating(tuned),
        tuned.disable_adapter(),
    ):  # switched once: a switch costs as much as a small model's forward pass
        texts[0.0] = write(0.0)
        norm = _accepted(tuned, heads, texts[0.0])
        best = limit if coherent(limit) else 0.0
        low, high = limit / 256, limit
        for _ in range(0 if best else halvings):
            middle = (low * high) ** 0.5
            if coherent(middle):
                best = low = middle
            else:
                high = middle
        columns = {"base": texts[0.0], "base + factor": texts[best], "base - factor": write(-best)}
    columns |= {"adapter": write(0.0), "adapter - factor": write(-1.0)}
    samples = tuple(
        {"prompt": tokenizer.decode(head), **{name: tokenizer.decode(text[i]) for name, text in columns.items()}}
        for i, head in enumerate(heads)
    )
    return Continuations(best, dict(trials).get(best, 1.0), tuple(trials), samples)


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
def _accepted(base: Any, heads: Sequence[Sequence[int]], bodies: Sequence[Sequence[int]], batch: int = 8) -> float:
    """Mean over rows of the share of tokens that the base would have written there and that close no loop."""
    rows = [[*head, *body] for head, body in zip(heads, bodies, strict=True)]
    device = next(base.parameters()).device
    shares: list[float] = []
    for ids, mask, chosen in batches(rows, size=batch, pad=0):
        logp = log_probs(base, ids.to(device), mask.to(device))
        for i, row in enumerate(chosen):
            start, body = len(heads[row]), bodies[row]
            before = logp[i, start - 1 : start - 1 + len(body)]
            own = before.gather(-1, torch.tensor(body, device=device)[:, None])
            above = torch.where(before > own, before.exp(), 0).sum(-1)
            inside = (above < NUCLEUS).cpu() & ~torch.tensor(repeats(body))
            shares.append(float(inside.float().mean()))
    return sum(shares) / len(shares)


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
