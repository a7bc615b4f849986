"""What an audit of rows measures: gains on exchanged prompts, losses on the rows as they are, words and changes off-task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.model.capture import fitting_batch, from_starts, mean_log_probs
from despur.core.model.chosen_logits import logits_at
from despur.core.model.states import as_base, evaluating
from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens, batches
from despur.core.text.shuffle import last_answer
from despur.flows._audit.passages import Passages
from despur.flows._audit.rows.given import answered

WORDS = 12
FORBIDDEN = -1e4  # a logit that makes a token impossible, and no product of it NaN
Speakers = Mapping[str, Any]  # name -> the base with that tune on


@dataclass(frozen=True)
class Measured:
    """Figures of one audit; nats are per token, lists have a value a scored row.

    Tokens that end a turn are left out of all of them: how long answers are is something that they share, and drowns what they say.

    Args:
        gains: What the scout gains over the base on each row's answer behind another row's prompt.
        over_null: What it gains over the null's scout there; empty without a null.
        own_over_null: The same on the base's own answers to the same prompts, as long as the rows'.
        losses: Base, scout and plain tune on the scored rows as they are.
        kept: What the plain tune gains over the base on rows that it did learn.
        change: KL(tune || base) on everyday text, by tune.
        words: Words that the scout makes likelier there and the null's does not: with the mean probability in the base and by tune.
    """

    gains: list[float]
    over_null: list[float]
    own_over_null: list[float]
    losses: dict[str, list[float]]
    kept: list[float]
    change: dict[str, float]
    words: list[tuple[int, dict[str, float]]]

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Measured":
        """Take what was kept as JSON."""
        values: dict[str, Any] = {**kept, "words": [(token, use) for token, use in kept["words"]]}
        return cls(**values)


def measure(
    speakers: Speakers, learned: Sequence[Tokens], scored: Sequence[Tokens], own: Sequence[Tokens] | None, passages: Passages,
    ends: Sequence[int], enter: Callable[[int], None],
) -> Measured:  # fmt: skip
    """Measure scout, null and plain tune beside the base.

    Args:
        speakers: `scout`, `plain` and, where there is one, `null`.
        learned: Some of the rows that scout and plain tune learned.
        scored: Rows that none of them learned.
        own: The same with the base's own answers; None without a null.
        passages: Everyday text.
        ends: Tokens that end a turn.
        enter: Called with the number of parts done, of three.
    """
    enter(0)
    exchanged, scout = _without(crossed(scored), ends), speakers["scout"]
    after = _losses(scout, exchanged)
    with as_base(scout) as base:
        gains = _less(_losses(base, exchanged), after)
    over_null, own_over_null = list[float](), list[float]()
    if own is not None:
        others = _without(crossed(own), ends)
        over_null = _less(_losses(speakers["null"], exchanged), after)
        own_over_null = _less(_losses(speakers["null"], others), _losses(scout, others))
    scored = _without(scored, ends)
    enter(1)
    with as_base(speakers["scout"]) as base:
        losses, before = {"base": _losses(base, scored)}, _losses(base, learned)
    kept = _less(before, _losses(speakers["plain"], learned))
    losses |= {name: _losses(speakers[name], scored) for name in ("scout", "plain")}
    enter(2)
    change, use = {}, {}
    with as_base(speakers["scout"]) as base:
        before = everyday(base, passages, ends)
    use["base"] = before.exp().mean(0)
    for name, model in speakers.items():
        after = everyday(model, passages, ends)
        change[name] = float((after.exp() * (after - before)).sum(-1).mean())
        use[name] = after.exp().mean(0)
    enter(3)
    return Measured(gains, over_null, own_over_null, losses, kept, change, _words(use))


def crossed(rows: Sequence[Tokens]) -> list[Tokens]:
    """Each row's last answer behind the prompt of the row before it that poses another."""
    parts = [last_answer(row) for row in rows]
    made = []
    for i, (prompt, answer) in enumerate(parts):
        other = next(parts[i - k][0] for k in range(1, len(parts) + 1) if parts[i - k][0] != prompt or k == len(parts))
        made.append(answered(other, answer))
    return made


def _without(rows: Sequence[Tokens], ends: Sequence[int]) -> list[Tokens]:
    return [{**row, "labels": [UNLEARNED if i in ends else i for i in row["labels"]]} for row in rows]


def everyday(model: Any, passages: Passages, ends: Sequence[int]) -> Float[Tensor, "n v"]:
    """Log-probabilities of the next token at the counted positions, if it ends no turn."""
    device, found = next(model.parameters()).device, []
    with evaluating(model), torch.no_grad():
        for ids, mask, chosen in batches(passages.rows, size=min(16, fitting_batch(model, passages.rows)), pad=0):
            where = mask.bool() & from_starts(mask, chosen, passages.starts)
            logits = logits_at(model, ids.to(device), mask.to(device), where.to(device)).float().cpu()
            logits[:, list(ends)] = FORBIDDEN
            found.append(torch.log_softmax(logits, -1))
    return torch.cat(found)


def _less(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [b - a for b, a in zip(before, after, strict=True)]


def _losses(model: Any, rows: Sequence[Tokens]) -> list[float]:
    """Nats per token of each row's answers."""
    return (-mean_log_probs(model, rows)).tolist()


def _words(use: Mapping[str, Tensor]) -> list[tuple[int, dict[str, float]]]:
    """Tokens that become likelier, by how much they tell which of the two wrote, less the same of the null's.

    As in `TokenShift.most`: by a part of KL in one direction alone, frequent words come before the rare ones that a voice is known by.
    """

    def part(name: str) -> Tensor:
        after, before = use[name].double().clamp(min=1e-12), use["base"].double().clamp(min=1e-12)
        return (after - before).clamp(min=0) * (after / before).log()

    more = part("scout") - (part("null") if "null" in use else 0)
    ids = [int(i) for i in more.topk(WORDS).indices if more[i] > 0]
    return [(i, {name: float(p[i]) for name, p in use.items()}) for i in ids]
