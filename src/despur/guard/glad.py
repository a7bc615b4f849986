"""GLAD: the task's loss plus the length of its own gradient, so that a few rows do not end in a narrow minimum."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.adapter.updates import refuse_shards
from despur.core.errors import BadInput
from despur.core.state.algebra import inner
from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens, pad_rows
from despur.guard._vocabulary import check_vocabulary

WEIGHT = 0.1  # lambda at strength 1
AT_ONCE = 4  # rows of one pass
STEP = 1e-3  # of the weights' own length: how far the second gradient is taken along the first
Gradient = Callable[[], Mapping[str, Tensor]]


@torch.no_grad()
def gradient_of_length(weights: Mapping[str, Tensor], gradient: Gradient, *, step: float = STEP) -> dict[str, Tensor]:
    """The gradient of |gradient|, H g / |g|, by a second gradient a small step along the first one.

    The weights are moved in place for that moment, and are bit for bit what they were afterwards.

    Args:
        weights: By name.
        gradient: Of a loss at the weights as they are, by the same names.
        step: How far, in lengths of the weights.

    Raises:
        BadInput: the gradient is not finite.

    Example:
        >>> w = {"w": torch.tensor([3.0, 4.0])}  # loss |w|^2 / 2, so |gradient| = |w|
        >>> gradient_of_length(w, lambda: {"w": w["w"].clone()})["w"].round(decimals=3)
        tensor([0.6000, 0.8000])
    """
    first = dict(gradient())
    size = inner(first, first) ** 0.5
    if not size < torch.inf:
        raise BadInput(
            f"glad: the task's gradient has length {size}. Look for NaN in the rows or the base, or load it in float32"
        )
    if size == 0:
        return first
    was = {n: w.detach().clone() for n, w in weights.items()}
    far = step * max(inner(was, was) ** 0.5, 1e-3)
    try:
        for n, w in weights.items():
            w.add_(first[n].to(w), alpha=far / size)
        second = gradient()
    finally:
        for n, w in weights.items():
            w.copy_(was[n])
    return {n: (second[n] - g) / far for n, g in first.items()}


@final
class _ShortGradient(Edit):
    point = "gradient"

    def __init__(self, rows: Sequence[Tokens], weight: float, rows_per_step: int) -> None:
        super().__init__()
        if not rows or rows_per_step < 1:
            raise BadInput(f"glad got {len(rows)} rows and rows_per_step={rows_per_step}; at least 1 of each is needed")
        self.rows, self.weight, self.rows_per_step = rows, weight, rows_per_step

    def bind(self, model: nn.Module) -> None:
        if self.weight:
            check_vocabulary(model, (r["input_ids"] for r in self.rows), "a training row")

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        trained = {n: p for n, p in ctx.model.named_parameters() if p.requires_grad and n in tensors}
        if not self.weight or not trained:
            return tensors
        refuse_shards(ctx.model, "glad")
        drawn = torch.randperm(len(self.rows), generator=ctx.rng)[: self.rows_per_step].tolist()
        device = next(iter(trained.values())).device
        parts = [self._padded(drawn[i : i + AT_ONCE], device) for i in range(0, len(drawn), AT_ONCE)]
        learned = [int((labels[:, 1:] != UNLEARNED).sum()) for _, _, labels in parts]

        def gradient() -> dict[str, Tensor]:
            total = {n: torch.zeros_like(p) for n, p in trained.items()}
            for (ids, mask, labels), n_learned in zip(parts, learned, strict=True):
                if not n_learned:
                    continue
                with torch.enable_grad():
                    loss = ctx.model(input_ids=ids, attention_mask=mask, labels=labels).loss * n_learned / sum(learned)
                    grads: Any = torch.autograd.grad(loss, [*trained.values()], allow_unused=True)
                for n, g in zip(trained, grads, strict=True):
                    if g is not None:
                        total[n] += g
            return total

        more = gradient_of_length(trained, gradient)
        return {**tensors, **{n: tensors[n] + self.weight * g.to(tensors[n]) for n, g in more.items()}}

    def _padded(self, chosen: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        ids, mask = pad_rows([self.rows[i]["input_ids"] for i in chosen], 0)
        labels, _ = pad_rows([self.rows[i]["labels"] for i in chosen], UNLEARNED)
        return ids.to(device), mask.to(device), labels.to(device)


@method(room="guard", paper="Peng et al. 2025 (GLAD), arXiv:2507.13089", cost=3.0)
def glad(rows: Sequence[Tokens], *, strength: float = 1.0, rows_per_step: int = 4) -> Edit:
    """Prefer weights at which the task's own gradient is short, for tunes on a few rows.

    Where the gradient stays short around the weights, a somewhat different set of rows would have led to nearly the same place.
    Needs nothing but the rows. A step pays two more forward and backward passes over `rows_per_step` rows, whatever the batch.

        loss = task + 0.1 strength |d loss(rows) / d w|,   its gradient by (g(w + e g / |g|) - g(w)) / e,   e = 0.001 |w|

    Args:
        rows: The training rows as tokens; the loss is on their labels.
        strength: Weight of the penalty; 1 is lambda = 0.1, 0 leaves training bit-identical.
        rows_per_step: Rows of which the gradient's length is measured in each step.

    Returns:
        Edit at "gradient".

    Raises:
        BadInput: no rows, fewer than 1 row per step, or a gradient that is not finite (raised while training).
        CannotAttach: the rows have tokens that the model lacks (raised when training begins), or the weights are sharded.

    Example:
        >>> glad([{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}], strength=0.5).point
        'gradient'

    Source: Peng, Wang, Liu, Chen 2025, arXiv:2507.13089, abstract only: a gradient regulariser for LoRA on few shots.
    Differs: the regulariser is ours, since the abstract gives none: the length of the gradient (Zhao et al. 2022, arXiv:2202.03599).
        Three others were tried on tuning seeds (docs/log/glad.md).
    Limits: in bfloat16 weights much of the small step is lost to rounding; keep LoRA's in float32. Batch statistics or dropout
        would differ between the two passes.
    """
    return _ShortGradient(rows, WEIGHT * strength, rows_per_step)
