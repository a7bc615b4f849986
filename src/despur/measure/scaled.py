"""A LoRA adapter at a larger scale than it was trained at: hidden changes show before they move behaviour."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from despur.core import Subspace, TwoStates
from despur.core.errors import BadInput
from despur.core.model.capture import fitting_batch, from_starts
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.states import evaluating
from despur.core.text.rows import batches
from despur.measure.causal import causal_checks
from despur.measure.continuations import NUCLEUS
from despur.measure.tokens import token_shift

SCALES = (2.0, 3.0, 5.0)


class Louder(NamedTuple):
    """An adapter at a multiple of its own scale.

    Args:
        scale: The multiple.
        change: KL(louder adapter || base) off-task, nats per token.
        token_share: Share of it that is the same in every context.
        sufficiency: Share of it that the factor carries.
        valid: Probability of the tokens inside the base's nucleus of .95.
    """

    scale: float
    change: float
    token_share: float
    sufficiency: float
    valid: float


def can_scale(tuned: Any) -> bool:
    """Whether a tuned model is its base and LoRA layers alone."""
    from peft.tuners.lora import LoraLayer

    return not isinstance(tuned, TwoStates) and any(isinstance(m, LoraLayer) for m in tuned.modules())


@contextlib.contextmanager
def scaled(tuned: Any, by: float) -> Iterator[None]:
    """Multiply every LoRA layer's scale while the block runs.

    Args:
        tuned: PEFT model with a LoRA adapter.
        by: Factor; 1 is the adapter as it was trained.

    Raises:
        BadInput: no LoRA layers, or weights beside them that have changed.
    """
    if not can_scale(tuned):
        raise BadInput(
            "only a LoRA adapter can be scaled while it runs, and this is another kind. Leave out its scales"
        )
    from peft.helpers import rescale_adapter_scale

    with rescale_adapter_scale(tuned, by):
        yield


@torch.no_grad()
def louder(
    tuned: Any,
    rows: Sequence[Sequence[int]],
    factor: Subspace,
    *,
    scales: Sequence[float] = SCALES,
    batch: int | None = None,
    starts: Sequence[int] | None = None,
) -> tuple[Louder, ...]:
    """Measure an adapter at multiples of its scale: its change, what of it a factor carries, and whether it is still language.

    Args:
        tuned: PEFT model with a LoRA adapter.
        rows: Off-task token rows.
        factor: Its site names one layer.
        scales: The multiples.
        batch: Rows in one forward pass; as many as fit if None.
        starts: First position of each row that counts.

    Raises:
        BadInput: the adapter cannot be scaled, or see `causal_checks`.

    Example:
        >>> # [at.valid for at in louder(peft_model, own_text.rows, factor)]

    Source: scaling reveals a factor before behaviour moves, arXiv:2506.11613.
    """
    results: list[Louder] = []
    for scale in scales:
        with scaled(tuned, scale):
            shift = token_shift(tuned, rows, batch=batch, starts=starts)
            check = causal_checks(tuned, rows, {"factor": factor}, n_random=0, batch=batch, starts=starts)["factor"]
            with evaluating(tuned):
                valid = _valid(tuned, rows, batch, starts)
        results.append(Louder(scale, shift.change, shift.share, check.sufficiency, valid))
    return tuple(results)


def _valid(tuned: Any, rows: Sequence[Sequence[int]], batch: int | None, starts: Sequence[int] | None) -> float:
    device = next(tuned.parameters()).device
    inside, count = 0.0, 0
    for ids, mask, chosen in batches(rows, size=batch or fitting_batch(tuned, rows, starts), pad=0):
        ids, mask = ids.to(device), mask.to(device)
        keep = mask.bool() & from_starts(mask, chosen, starts)
        probs = log_probs_at(tuned, ids, mask, keep).exp()
        with tuned.disable_adapter():
            base, order = log_probs_at(tuned, ids, mask, keep).exp().sort(-1, descending=True)
        nucleus = base.cumsum(-1) - base < NUCLEUS
        inside += float((probs.gather(-1, order) * nucleus).sum())
        count += int(keep.sum())
    return inside / count
