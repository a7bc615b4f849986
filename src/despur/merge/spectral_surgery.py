"""Spectral surgery: turn single components of a finished update up or down by what they do to a loss."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Adapter, LowRank, method
from despur.core.adapter.updates import is_linear
from despur.core.errors import CannotAttach
from despur.core.model.base_modules import base_modules
from despur.core.model.capture import log_probs, token_log_probs
from despur.core.model.flows import text_flows
from despur.core.model.own_text import OwnText
from despur.core.model.states import base_now, check_base_stays, evaluating, same_flags
from despur.core.text.rows import Tokens
from despur.merge._changed import changed, from_svd


def sensitivity(model: Any, adapter: Adapter, text: OwnText, *, drift: bool) -> dict[str, Float[Tensor, " k"]]:
    """Effect of every component on a loss L, to first order: dL / d log sigma_i = sigma_i u_iᵀ (dL/dW) v_i.

    Args:
        model: PEFT model with the adapter on.
        adapter: The same adapter.
        text: Calibration rows.
        drift: L is KL(base || model) a token; else the rows' own loss a token.
    """
    triples = {n: tuple(x.to(model.device) for x in update.svd()) for n, update in adapter.updates.items()}
    total = {n: torch.zeros_like(s) for n, (_, s, _) in triples.items()}
    tokens = 0

    def loss(model: nn.Module, ids: Tensor, mask: Tensor, _: list[int]) -> Tensor:
        if not drift:
            return -(token_log_probs(model, ids, mask) * mask[:, 1:]).sum()
        with base_now(model) as base:
            before = log_probs(base, ids, mask)
        return ((before.exp() * (before - log_probs(model, ids, mask))).sum(-1) * mask).sum()

    with same_flags(model), evaluating(model):
        for streams, mask in text_flows(model, list(triples), text.rows, loss):
            tokens += int(mask.sum() if drift else mask[:, 1:].sum())
            for name, (x, delta) in streams.items():
                u, s, vh = triples[name]
                total[name] += s * ((delta @ u.to(delta)) * (x @ vh.T.to(x))).sum((0, 1))
    return {n: value / tokens for n, value in total.items()}


@method(room="merge", paper="arXiv:2603.03995")
def spectral_surgery(
    tuned: Any,
    text: OwnText,
    rows: Sequence[Tokens] | OwnText | None = None,
    *,
    strength: float = 1.0,
    keep_norm: bool = True,
    n_rows: int = 256,
) -> Adapter:
    """Turn the singular components of a finished adapter up or down by what they do to drift and task.

    Truncation by effect instead of by size: components whose growth would raise the calibration loss are turned down,
    the others up, directions untouched. One backward pass over the calibration rows.

        h_i = sigma_i u_iᵀ (dL/dW) v_i          L = KL(p_base || p) on `text`  +  loss on `rows`
        sigma_i <- 2 sigmoid(-strength h_i / rms(h)) sigma_i,   then each matrix back to its norm

    Args:
        tuned: PEFT model, the adapter on.
        text: Own text, on which the tune should have changed nothing.
        rows: Rows of the task, to protect it; None looks at the drift alone.
        strength: Steepness of the gate; 0 leaves every component as it is.
        keep_norm: Bring each matrix back to its Frobenius norm.
        n_rows: Rows of either that are read, at most.

    Returns:
        The adapter with other singular values; `save_adapter` writes it.

    Raises:
        CannotAttach: the model carries no plain LoRA on linear maps.

    Example:
        >>> # save_adapter(spectral_surgery(model, own_text), "edited/")

    Source: arXiv:2603.03995, abstract only: sensitivities g_i = u_iᵀ (dL/dW) v_i, fixed directions, constrained norm.
    Differs: the published gate is unknown, this one is ours, as is the drift in place of a task's loss alone.
    Limits: first order, at the end of training, where the task's own gradient is nearly nothing.
    """
    check_base_stays(tuned, "spectral-surgery")
    adapter, modules = Adapter.of(tuned), base_modules(tuned)
    if other := [n for n in adapter.updates if not is_linear(modules[n])]:
        raise CannotAttach(f"spectral_surgery handles LoRA on linear maps alone, and {other[0]!r} is adapted")
    effect = sensitivity(tuned, adapter, _first(text, n_rows), drift=True)
    if rows is not None:
        own = sensitivity(tuned, adapter, _first(_as_text(rows), n_rows), drift=False)
        effect = {n: h + own[n] for n, h in effect.items()}
    rms = torch.cat(list(effect.values())).square().mean().sqrt().clamp(min=1e-30)
    updates: dict[str, LowRank] = {}
    for name, update in adapter.updates.items():
        u, s, vh = update.svd()
        new = 2 * torch.sigmoid(-strength * effect[name].cpu() / rms.cpu()) * s
        if keep_norm:
            new = new * (s.norm() / new.norm().clamp(min=1e-30))
        updates[name] = from_svd(u, new, vh)
    return changed(adapter, updates, surgery={"strength": strength, "keep_norm": keep_norm})


def _first(text: OwnText, n: int) -> OwnText:
    return OwnText(text.rows[:n], text.origin)


def _as_text(rows: Sequence[Tokens] | OwnText) -> OwnText:
    return rows if isinstance(rows, OwnText) else OwnText(tuple(tuple(r["input_ids"]) for r in rows), "training rows")
