"""Which rows of text a step can pay for, in tokens: the unit in which a step's price is counted."""

import math
from collections.abc import Sequence

import torch

from despur.core.errors import BadInput

BUDGET = 0.2  # tokens of text for each token of the task; a token of the text costs a little more than one of the task


def check_budget(budget: float) -> None:
    """Refuse a budget that buys nothing.

    Raises:
        BadInput: it is not a positive number.
    """
    if not 0 < budget < math.inf:
        raise BadInput(
            f"budget={budget}; it is tokens of text for each token of the task, a number above 0 such as 0.2"
        )


def draw_rows(lengths: Sequence[int], tokens: float, *, step: int, rng: torch.Generator) -> tuple[list[int], int]:
    """Draw the rows of a step, with replacement, as many as the tokens pay for, padding included.

    Where a step pays for less than a row, one comes every few steps, and its penalty counts as many times: the mean
    gradient and the mean price stay. With 0 tokens, where nobody counted, it is one row a step.

    Args:
        lengths: Tokens of each row.
        tokens: What one step may read.
        step: Steps done so far.
        rng: Draws.

    Returns:
        Indices, none in a step between, and the number of steps that they stand for.

    Example:
        >>> draw_rows([10], 35.0, step=0, rng=torch.Generator()), draw_rows([10], 4.0, step=1, rng=torch.Generator())
        (([0, 0, 0], 1), ([], 3))
    """
    every = max(1, math.ceil(sum(lengths) / len(lengths) / tokens)) if tokens else 1
    if step % every:
        return [], every
    chosen: list[int] = []
    longest = 0
    while True:
        row = int(torch.randint(len(lengths), (), generator=rng))
        longest = max(longest, lengths[row])
        if chosen and (len(chosen) + 1) * longest > every * tokens:
            return chosen, every
        chosen.append(row)
