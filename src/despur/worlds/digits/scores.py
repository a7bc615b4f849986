"""What is measured of a net on digits: accuracy, loss, and whether rows were in its training."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from despur.core.errors import BadInput
from despur.worlds.digits.rows import DigitRows

RowLoss = Callable[[Tensor, Tensor], Tensor]  # logits (b, 10) and labels (b,) -> one loss a row (b,)
CROSS_ENTROPY: RowLoss = partial(cross_entropy, reduction="none")


@torch.no_grad()
def accuracy(net: nn.Module, rows: DigitRows) -> float:
    """Share of the rows whose label has the largest logit; the net is asked as it is, in training mode or not.

    Raises:
        BadInput: no rows.

    Example:
        >>> from despur.worlds import Digits, digit_net
        >>> accuracy(digit_net("mlp"), Digits().test) < 0.4
        True
    """
    return float((net(_some(rows).x).argmax(1) == rows.y).float().mean())


@torch.no_grad()
def row_losses(net: nn.Module, rows: DigitRows, loss: RowLoss = CROSS_ENTROPY) -> Float[Tensor, " n"]:
    """One loss a row, cross-entropy by default.

    Raises:
        BadInput: no rows.
    """
    return loss(net(_some(rows).x), rows.y)


def membership(net: nn.Module, members: DigitRows, others: DigitRows) -> float:
    """Area under the curve of an attack that takes rows of low loss for rows of the training: 0.5 knows nothing, 1 all.

    Args:
        net: The net under attack.
        members: Rows that may have been trained on.
        others: Rows of the same kind that were not.

    Raises:
        BadInput: no rows.

    Example:
        >>> from despur.worlds import Digits, digit_net
        >>> rows = Digits().test
        >>> membership(digit_net("mlp"), rows, rows)
        0.5
    """
    from scipy.stats import mannwhitneyu  # takes half a second

    low, high = (row_losses(net, rows).double().numpy() for rows in (members, others))
    return float(mannwhitneyu(high, low, method="asymptotic").statistic) / (len(low) * len(high))


def _some(rows: DigitRows) -> DigitRows:
    if not len(rows):
        raise BadInput("no rows to ask the net about; give one or more")
    return rows
