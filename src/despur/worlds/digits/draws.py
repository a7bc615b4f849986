"""Parts of the digits: few rows a class, and rows to forget beside those to retain."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from despur.core.errors import BadInput
from despur.worlds.digits.rows import CLASSES, DigitRows, checked_classes
from despur.worlds.digits.seeds import generator


class Forgetting(NamedTuple):
    """Rows to be forgotten, and rows whose answers must stay."""

    forget: DigitRows
    retain: DigitRows


def forget_class(rows: DigitRows, *classes: int) -> Forgetting:
    """Split rows into those of the named classes and the others; do the same with test rows to score it.

    Raises:
        BadInput: a class is no digit, or none is left to retain.

    Example:
        >>> from despur.worlds import Digits
        >>> forget, retain = forget_class(Digits().test, 3, 5)
        >>> forget.y.unique().tolist(), len(retain.y.unique())
        ([3, 5], 8)
    """
    if len(checked_classes(classes)) == CLASSES:
        raise BadInput("all classes are to be forgotten; leave one to retain")
    forget = rows.of_class(*classes)
    return Forgetting(forget, rows.without(forget))


def forget_rows(rows: DigitRows, n: int, *, seed: int = 0) -> Forgetting:
    """Draw n rows of any class to forget.

    To forget rows that share something, give them to `rows.without`: rows with wrong labels are
    `noisy[noisy.y != rows.y]`, say.

    Raises:
        BadInput: no row would be left on one side, or the seed is negative.

    Example:
        >>> from despur.worlds import Digits
        >>> [len(part) for part in forget_rows(Digits().train, 100)]
        [100, 977]
    """
    if not 0 < n < len(rows):
        raise BadInput(f"{n} rows to forget of {len(rows)}; take 1 to {len(rows) - 1}")
    order = generator(seed, "forget").permutation(len(rows))
    return Forgetting(rows[order[:n]], rows[order[n:]])


def few_shots(rows: DigitRows, n: int | Sequence[int], *, seed: int = 0, draw: int = 0) -> DigitRows:
    """Draw n rows of each class, class by class.

    Draws of one seed and n are disjoint; the draw 0 of n is in that of any larger n. Draws of two seeds are independent.

    Args:
        rows: Where to draw from, without replacement.
        n: Rows a class, or one count for each class 0 to 9, for unequal shares.
        seed: Of the order in which rows are taken.
        draw: Which of the disjoint draws.

    Raises:
        BadInput: a class has too few rows, or a count, the draw or the seed is out of range.

    Example:
        >>> from despur.worlds import Digits
        >>> pool = Digits().train
        >>> few, more = few_shots(pool, 4), few_shots(pool, 16)
        >>> len(few), len(more), len(more.without(few))
        (40, 160, 120)
        >>> few_shots(pool, [30, 5] + 8 * [0]).y.bincount().tolist()
        [30, 5]
    """
    counts = [n] * CLASSES if isinstance(n, int) else [*n]
    if len(counts) != CLASSES or min(counts) < 0 or not sum(counts) or draw < 0:
        raise BadInput(f"n={n}, draw={draw}: give one count above 0 or ten of them, 0 or more, and a draw of 0 or more")
    order = torch.from_numpy(generator(seed, "shots").permutation(len(rows)))
    taken: list[torch.Tensor] = []
    for c, count in enumerate(counts):
        own = order[rows.y[order] == c]
        if (draw + 1) * count > len(own):
            raise BadInput(
                f"draw {draw} of {count} rows needs {(draw + 1) * count} of class {c}, and there are {len(own)}"
            )
        taken.append(own[draw * count : (draw + 1) * count])
    return rows[torch.cat(taken)]
