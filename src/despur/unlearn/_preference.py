"""Direct preference optimisation on token rows: one way to go on is to be likelier than another, by more than it was."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from despur.core.model.capture import token_log_probs
from despur.core.text.rows import pad_rows


@dataclass(frozen=True)
class Pair:
    """One preference: two rows that are alike up to a cut.

    Args:
        chosen: Token ids of the row that is preferred.
        rejected: Of the other.
        cut: Tokens that both begin with.
    """

    chosen: Sequence[int]
    rejected: Sequence[int]
    cut: int


def margins(model: nn.Module, pairs: Sequence[Pair]) -> Float[Tensor, " n"]:
    """Give log p(chosen) - log p(rejected) behind the cut, nats, of each pair."""
    rows = [*(p.chosen for p in pairs), *(p.rejected for p in pairs)]
    chosen, rejected = _log_probs(model, rows, [p.cut for p in pairs] * 2).chunk(2)
    return chosen - rejected


def preference_loss(now: Float[Tensor, " n"], before: Float[Tensor, " n"], *, beta: float) -> Float[Tensor, ""]:
    """DPO's loss: -log sigmoid(beta (margin now - margin before)), the mean over pairs.

    Example:
        >>> preference_loss(torch.zeros(2), torch.zeros(2), beta=0.1).round(decimals=4)
        tensor(0.6931)
    """
    return -logsigmoid(beta * (now - before)).mean()


def _log_probs(model: nn.Module, rows: Sequence[Sequence[int]], cuts: Sequence[int]) -> Float[Tensor, " n"]:
    device = next(model.parameters()).device
    ids, mask = (t.to(device) for t in pad_rows(rows, 0))
    behind = torch.arange(1, ids.shape[1], device=device)[None] >= torch.tensor(cuts, device=device)[:, None]
    return (token_log_probs(model, ids, mask) * (mask[:, 1:] * behind)).sum(1)
