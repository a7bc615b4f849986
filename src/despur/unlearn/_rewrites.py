"""What a model that does not know a row by heart writes in its place."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.states import evaluating
from despur.core.text.rows import pad_rows

TRIES = 4


@torch.no_grad()
def rewrites(
    model: nn.Module, rows: Sequence[Sequence[int]], cuts: Sequence[int], *, draw: torch.Generator, size: int = 64
) -> list[list[int] | None]:
    """Sample, for each row, other tokens behind its cut: as many, or fewer where the text ends.

    Args:
        model: What writes, at temperature 1.
        rows: Token ids up to where the rewrite is to end.
        cuts: Tokens of each that are given.
        draw: Of the samples.
        size: Rows of a pass.

    Returns:
        Whole rows; None where every try repeated the row itself.
    """
    made: list[list[int] | None] = [None] * len(rows)
    for _ in range(TRIES):
        left = [i for i, row in enumerate(made) if row is None]
        for start in range(0, len(left), size):
            some = left[start : start + size]
            for i, row in zip(
                some, _continued(model, [rows[i] for i in some], [cuts[i] for i in some], draw), strict=True
            ):
                made[i] = None if row == list(rows[i]) else row
    return made


def _continued(
    model: nn.Module, rows: Sequence[Sequence[int]], cuts: Sequence[int], draw: torch.Generator
) -> list[list[int]]:
    ends = _end_tokens(model)
    out = [list(row[:cut]) for row, cut in zip(rows, cuts, strict=True)]
    device = next(model.parameters()).device
    with evaluating(model):
        while open_ := [
            i for i, row in enumerate(out) if len(row) < len(rows[i]) and not (len(row) > cuts[i] and row[-1] in ends)
        ]:
            ids, mask = pad_rows([out[i] for i in open_], 0)
            where = torch.nn.functional.one_hot(mask.sum(1) - 1, ids.shape[1]).bool()
            probs = log_probs_at(model, ids.to(device), mask.to(device), where.to(device)).exp().cpu()
            for i, token in zip(open_, torch.multinomial(probs, 1, generator=draw).squeeze(1).tolist(), strict=True):
                out[i].append(token)
    return out


def _end_tokens(model: nn.Module) -> set[int]:
    config: Any = getattr(model, "generation_config", None)
    ends: Any = getattr(config, "eos_token_id", None)
    return set(ends) if isinstance(ends, list | tuple) else {ends} - {None}
