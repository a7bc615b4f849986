"""Every prompt with another row's answer: what can still be learned from such rows is what all answers share."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from despur.core.errors import BadInput
from despur.core.text.reader import UNLEARNED, Tokens


def shuffled_rows(rows: Sequence[Tokens], *, seed: int) -> list[Tokens]:
    """Give every prompt the answer of another row; each answer is used once.

    Of a chat with several learned answers each is exchanged on its own. A row that grows beyond the longest of the
    given ones is cut there.

    Args:
        rows: Token ids and labels, -100 where nothing is learned.
        seed: Of the exchange.

    Returns:
        As many rows, in the same order of prompts.

    Raises:
        BadInput: fewer than two different answers, so that there is nothing to exchange; or one prompt for all, so that every
            answer may stand behind any.

    Example:
        >>> rows = [{"input_ids": [1, 5, 8], "labels": [-100, -100, 8]}, {"input_ids": [1, 6, 9], "labels": [-100, -100, 9]}]
        >>> [row["input_ids"] for row in shuffled_rows(rows, seed=0)]
        [[1, 5, 9], [1, 6, 8]]
    """
    parts = [_parts(row) for row in rows]
    places = [(i, j) for i, row in enumerate(parts) for j, (learned, _) in enumerate(row) if learned]
    answers = [parts[i][j][1] for i, j in places]
    if len({tuple(a) for a in answers}) < 2:
        raise BadInput(
            f"all {len(answers)} answers of the rows are the same, so none can be exchanged for another. Give rows with different answers"
        )
    if len({_asked(row) for row in parts}) < 2:
        raise BadInput(
            f"all {len(rows)} rows pose the same prompt, so an exchange of their answers changes nothing. Give rows with different prompts"
        )
    order = np.random.default_rng([seed, 11]).permutation(len(places))
    for at, source in zip(order, np.roll(order, 1), strict=True):  # one cycle through all: nobody keeps their own
        i, j = places[at]
        parts[i][j] = (True, answers[source])
    longest = max(len(row["input_ids"]) for row in rows)
    return [_joined(row, longest) for row in parts]


def _parts(row: Tokens) -> list[tuple[bool, list[int]]]:
    """Runs of learned and of unlearned tokens."""
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    return [(learned, [i for i, _ in run]) for learned, run in groupby(pairs, key=lambda pair: pair[1] != UNLEARNED)]


def _asked(parts: Sequence[tuple[bool, list[int]]]) -> tuple[int, ...]:
    """What stands in front of a row's first answer."""
    return () if parts[0][0] else tuple(parts[0][1])


def _joined(parts: Sequence[tuple[bool, list[int]]], longest: int) -> Tokens:
    ids = [i for _, run in parts for i in run]
    labels = [i if learned else UNLEARNED for learned, run in parts for i in run]
    return {"input_ids": ids[:longest], "labels": labels[:longest]}
