"""The gradient of some text's loss, for what puts it beside the task's or in its place."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from despur.core.model.capture import token_log_probs
from despur.core.text.rows import pad_rows
from despur.core.types import Context


def text_gradient(
    ctx: Context, rows: Sequence[Sequence[int]], rows_per_step: int, names: Sequence[str]
) -> dict[str, Tensor]:
    """Gradient of the language-model loss of `rows_per_step` rows, drawn by the context's generator, by weight."""
    chosen = torch.randint(len(rows), (rows_per_step,), generator=ctx.rng).tolist()
    weights = [ctx.model.get_parameter(n) for n in names]
    ids, mask = (x.to(weights[0].device) for x in pad_rows([rows[i] for i in chosen], 0))
    with torch.enable_grad():
        loss = -(token_log_probs(ctx.model, ids, mask) * mask[:, 1:]).sum() / mask[:, 1:].sum()
        grads: Any = torch.autograd.grad(loss, weights, allow_unused=True)  # None for what the rows do not meet
    return {n: torch.zeros_like(w) if g is None else g for n, w, g in zip(names, weights, grads, strict=True)}
