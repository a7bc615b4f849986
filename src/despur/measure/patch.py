"""Where a tune's off-task change sits: in the chat template's prefix, in the question, or in the tail before the answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from despur.core import Report
from despur.core.errors import BadInput
from despur.core.model.capture import fitting_batch, from_starts
from despur.core.model.key_values import Exchanged, key_values
from despur.core.model.states import check_switchable, evaluating
from despur.core.text.rows import batches
from despur.core.text.template import Template

PARTS = ("prefix", "question", "tail")
CONTROL = "as many other positions of the same rows, drawn at random"


@torch.no_grad()
def patch_shares(
    model: Any,
    rows: Sequence[Sequence[int]],
    begins: Sequence[int],
    template: Template,
    *,
    batch: int | None = None,
    seed: int = 0,
) -> dict[str, Report]:
    """Measure how much of an adapter's off-task change each part of a chat carries.

    The adapter gets the base's keys and values at one part's positions; what then vanishes of its change reached the answer
    through them. Predictions of the answer's tokens but the first count: the first is made at the last token of the tail
    itself. The shares need not sum to one: parts read one another, and the answer's own tokens carry some. Costs 9 forward passes.

        share = 1 - KL(adapter with the part's keys and values from the base || base) / KL(adapter || base)

    Args:
        model: PEFT model, or anything else whose adapter `disable_adapter()` switches off.
        rows: Off-task chats as tokens; those that another template wrote are left out.
        begins: Position at which the answer of each begins.
        template: The template's tokens.
        batch: Rows in one forward pass; as many as fit if None.
        seed: Of the control's positions and the bootstrap.

    Returns:
        Part -> report; the control is the same at `CONTROL`. Shares of 0 where the adapter changes nothing.

    Raises:
        BadInput: fewer than 4 rows of this template, or no adapter to switch off.
        CannotAttach: the model caches no keys and values.

    Example:
        >>> # patch_shares(peft_model, chats, begins, Template.of(tokenizer))["prefix"].value
    """
    check_switchable(model, "the patch test")
    found = [(r, b, parts) for r, b in zip(rows, begins, strict=True) if (parts := template.parts(r, b)) and len(r) > b]
    if len(found) < 4:
        raise BadInput(
            f"{len(found)} rows are chats of this template; at least 4 are needed. Give prompts without a system turn"
        )
    kept = [r for r, _, _ in found]
    rng = np.random.default_rng(seed)
    where: dict[str, list[list[int]]] = {}
    for part in PARTS:
        where[part] = [list(parts[part]) for _, _, parts in found]
        where[f"other than {part}"] = [
            _others(len(r), at, rng) for r, at in zip(kept, where[part], strict=True)
        ]  # fmt: skip
    change = np.zeros(len(kept))
    left = {name: np.zeros(len(kept)) for name in where}
    device = next(model.parameters()).device
    with evaluating(model):
        for ids, mask, chosen in batches(kept, size=batch or fitting_batch(model, kept), pad=0):
            ids, mask = ids.to(device), mask.to(device)
            counted = mask.bool() & from_starts(mask, chosen, [b for _, b, _ in found])
            with model.disable_adapter():
                given, base = key_values(model, ids, mask), _log_probs(model, ids, mask)
            change[chosen] = _row_sums(_log_probs(model, ids, mask), base, counted)
            for name, positions in where.items():
                at = torch.zeros_like(mask, dtype=torch.bool)
                for i, row in enumerate(chosen):
                    at[i, positions[row]] = True
                left[name][chosen] = _row_sums(_log_probs(model, ids, mask, Exchanged(given, at)), base, counted)
    draws = rng.integers(len(kept), size=(2000, len(kept)))
    return {part: _report(part, change, left, where, draws) for part in PARTS}


def _others(length: int, positions: Sequence[int], rng: np.random.Generator) -> list[int]:
    """As many other positions of a row, or all there are."""
    free = np.setdiff1d(np.arange(length), positions)
    return rng.choice(free, min(len(positions), len(free)), replace=False).tolist()


def _log_probs(
    model: Any, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"], cache: Exchanged | None = None
) -> Float[Tensor, "b t v"]:
    how = {} if cache is None else {"past_key_values": cache, "use_cache": True}
    return torch.log_softmax(model(input_ids=ids, attention_mask=mask, **how).logits.float(), -1)


def _row_sums(
    now: Float[Tensor, "b t v"], base: Float[Tensor, "b t v"], counted: Bool[Tensor, "b t"]
) -> Float[np.ndarray, " b"]:
    """KL(now || base) of each row, summed over the positions that count."""
    return ((now.exp() * (now - base)).sum(-1) * counted).sum(1).double().cpu().numpy()


def _report(
    part: str,
    change: np.ndarray,
    left: Mapping[str, np.ndarray],
    where: Mapping[str, list[list[int]]],
    draws: np.ndarray,
) -> Report:
    def share(name: str) -> float:
        return float(1 - left[name].sum() / change.sum()) if change.sum() > 0 else 0.0

    boot = 1 - left[part][draws].sum(1) / np.maximum(change[draws].sum(1), 1e-300)
    low, high = np.quantile(boot, [0.025, 0.975]) if change.sum() > 0 else (0.0, 0.0)
    other = f"other than {part}"
    tokens = {name: float(np.mean([len(p) for p in where[name]])) for name in (part, other)}
    return Report(
        f"patch_{part}", share(part), float(low), float(high), len(change), share(other), "share of the off-task change",
        spec={"control": CONTROL, "tokens": tokens[part], "control_tokens": tokens[other]},
    )  # fmt: skip
