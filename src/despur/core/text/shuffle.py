"""Every prompt with another row's answer: what can still be learned from such rows is what all answers share."""

from collections.abc import Hashable, Sequence
from itertools import groupby

import numpy as np

from despur.core.errors import BadInput
from despur.core.text.pools import Within, pools
from despur.core.text.reader import UNLEARNED, Tokens


def shuffled_rows(
    rows: Sequence[Tokens], *, seed: int, within: Within = "all", groups: Sequence[Hashable] | None = None
) -> list[Tokens]:
    """Give every prompt the answer of another row; each answer is used once.

    Of a chat with several learned answers each is exchanged on its own. A row that grows beyond the longest of the
    given ones is cut there.

    Args:
        rows: Token ids and labels, -100 where nothing is learned.
        seed: Of the exchange.
        within: Among all rows, among answers of like `length`, or among rows whose `prompt` has the same rare words: the narrower, the
            less the answers' length or subject counts as something that they share.
        groups: One for each row, as a field of it, the task or the author: answers stay in their group.

    Returns:
        As many rows, in the same order of prompts.

    Raises:
        BadInput: fewer than two different answers, in all or in a group, so that there is nothing to exchange; one prompt for all, so
            that every answer may stand behind any; another number of groups than of rows.

    Example:
        >>> rows = [{"input_ids": [1, 5, 8], "labels": [-100, -100, 8]}, {"input_ids": [1, 6, 9], "labels": [-100, -100, 9]}]
        >>> [row["input_ids"] for row in shuffled_rows(rows, seed=0)]
        [[1, 5, 9], [1, 6, 8]]
    """
    parts = [runs_of(row) for row in rows]
    places = [(i, j) for i, row in enumerate(parts) for j, (learned, _) in enumerate(row) if learned]
    answers = [parts[i][j][1] for i, j in places]
    owners = _owners(rows, places, groups)
    _check(answers, owners)
    if len({_asked(row) for row in parts}) < 2:
        raise BadInput(
            f"all {len(rows)} rows pose the same prompt, so an exchange of their answers changes nothing. Give rows with different prompts"
        )
    asked = [parts[i][j - 1][1] if j else [] for i, j in places]
    draw = np.random.default_rng([seed, 11])
    for pool in pools(asked, answers, within=within, groups=owners):
        order = [pool[k] for k in draw.permutation(len(pool))]
        for at, source in zip(order, np.roll(order, 1), strict=True):  # one cycle through all: nobody keeps their own
            i, j = places[at]
            parts[i][j] = (True, answers[source])
    longest = max(len(row["input_ids"]) for row in rows)
    return [_joined(row, longest) for row in parts]


def _owners(
    rows: Sequence[Tokens], places: Sequence[tuple[int, int]], groups: Sequence[Hashable] | None
) -> list[Hashable]:
    if groups is None:
        return [None] * len(places)
    if len(groups) != len(rows):
        raise BadInput(f"{len(groups)} groups of {len(rows)} rows. Give one for each row, or none")
    return [groups[i] for i, _ in places]


def _check(answers: Sequence[list[int]], owners: Sequence[Hashable]) -> None:
    different: dict[Hashable, set[tuple[int, ...]]] = {owner: set() for owner in owners or [None]}
    for answer, owner in zip(answers, owners, strict=True):
        different[owner].add(tuple(answer))
    for owner, kinds in different.items():
        if len(kinds) < 2:
            where = "the rows" if owner is None else f"the group {owner!r}"
            raise BadInput(
                f"all {owners.count(owner)} answers of {where} are the same, so none can be exchanged for another. "
                "Give rows with different answers"
            )


def runs_of(row: Tokens) -> list[tuple[bool, list[int]]]:
    """Split a row into runs of learned and of unlearned tokens.

    Example:
        >>> runs_of({"input_ids": [1, 5, 8], "labels": [-100, -100, 8]})
        [(False, [1, 5]), (True, [8])]
    """
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    return [(learned, [i for i, _ in run]) for learned, run in groupby(pairs, key=lambda pair: pair[1] != UNLEARNED)]


def last_answer(row: Tokens) -> tuple[list[int], list[int]]:
    """Split a row at its last answer: all that stands in front of it, and the answer.

    Example:
        >>> last_answer({"input_ids": [1, 5, 8], "labels": [-100, -100, 8]})
        ([1, 5], [8])
    """
    runs = runs_of(row)
    last = max(at for at, (learned, _) in enumerate(runs) if learned)
    return [i for _, run in runs[:last] for i in run], runs[last][1]


def _asked(parts: Sequence[tuple[bool, list[int]]]) -> tuple[int, ...]:
    """What stands in front of a row's first answer."""
    return () if parts[0][0] else tuple(parts[0][1])


def _joined(parts: Sequence[tuple[bool, list[int]]], longest: int) -> Tokens:
    ids = [i for _, run in parts for i in run]
    labels = [i if learned else UNLEARNED for learned, run in parts for i in run]
    return {"input_ids": ids[:longest], "labels": labels[:longest]}
