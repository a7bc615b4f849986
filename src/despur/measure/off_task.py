"""The four axes without any labels: what can be measured on data and base alone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from despur.core import AddVector, Subspace, attach
from despur.core.model.capture import fitting_batch, label_log_probs, log_probs
from despur.core.model.states import check_switchable, evaluating
from despur.core.text.rows import Tokens, batches


@torch.no_grad()
def off_task(
    model: nn.Module,
    *,
    held_out: Sequence[Tokens],
    own_text: Sequence[Sequence[int]],
    factor: Subspace | None = None,
    shift: Tensor | None = None,
    batch: int = 16,
) -> dict[str, dict[str, Tensor]]:
    """Score a PEFT model on a user's own work, without a probe for the factor.

    Args:
        model: Model with its adapter on; its base is the model with the adapter off.
        held_out: Rows of the data that were not trained on.
        own_text: Fresh text of the base's own, not the rows that a guard was trained with.
        factor: Found at one layer; None leaves out `legitimate`.
        shift: (d,) the mean change along the factor, added to the stream to ask how the model responds.
        batch: Rows in one forward pass at most.

    Returns:
        Axis -> readout -> one value a row, for `four_axes`:
        `task.logp` of the answers per token; `drift.kl` KL(model || base) on own text per token;
        `legitimate.response` KL(model with the factor added || model), how strongly the model still answers to
        the factor; `validity.likelihood` of the base's own text, per token (geometric mean).

    Raises:
        BadInput: no adapter to switch off.

    Example:
        >>> # off_task(peft_model, held_out=tokens[-50:], own_text=fresh.rows)["drift"]["kl"].mean()
    """
    check_switchable(model, "off_task")
    device = next(model.parameters()).device
    scores: dict[str, dict[str, Tensor]] = {"task": {}, "drift": {"kl": torch.zeros(len(own_text))}}
    if factor is not None and shift is not None:
        scores["legitimate"] = {"response": torch.zeros(len(own_text))}
    scores["validity"] = {"likelihood": torch.zeros(len(own_text))}
    with evaluating(model):
        answers, counts = label_log_probs(model, held_out, batch=batch)
        scores["task"]["logp"] = answers / counts.clamp(min=1)
        for ids, mask, chosen in batches(own_text, size=_few(model, own_text, batch), pad=0):
            ids, mask = ids.to(device), mask.to(device)
            now = log_probs(model, ids, mask)
            with model.disable_adapter():  # type: ignore[operator]
                base = log_probs(model, ids, mask)
            scores["drift"]["kl"][chosen] = _row_mean((now.exp() * (now - base)).sum(-1), mask)
            token_logp = now[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
            scores["validity"]["likelihood"][chosen] = _row_mean(token_logp, mask[:, 1:]).exp()
            if factor is not None and shift is not None:
                with attach(model, {factor.site: AddVector(shift)}):
                    moved = log_probs(model, ids, mask)
                scores["legitimate"]["response"][chosen] = _row_mean((moved.exp() * (moved - now)).sum(-1), mask)
    return scores


def _few(model: nn.Module, rows: Sequence[Sequence[int]], batch: int) -> int:
    return min(batch, fitting_batch(model, rows)) if rows else batch


def _row_mean(values: Tensor, mask: Tensor) -> Tensor:
    return ((values * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu()
