"""Where a tune's off-task change sits: in the chat template's prefix, in the question, or in the tail before the answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from despur.core import Report
from despur.core.errors import BadInput
from despur.core.model.states import check_switchable
from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens, pad_rows
from despur.core.text.template import Template
from despur.measure._patched_passes import patched_passes

NAN, UNIT_TASK = float("nan"), "share of what was learned"
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
    itself. The shares need not sum to one: parts read one another, and the answer's own tokens carry some. Costs 8 forward
    passes, of which those that exchange a part begin behind it.

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
    for part in found[0][2]:
        where[part] = [list(parts[part]) for _, _, parts in found]
        where[f"other than {part}"] = _others(kept, where[part], rng)
    left = {name: np.zeros(len(kept)) for name in ("adapter", *where)}
    base = torch.empty(0)
    for name, chosen, counted, now in patched_passes(model, kept, [b for _, b, _ in found], where, batch):
        if name == "base":
            base = now
            continue
        left[name][chosen] = _row_sums((now.exp() * (now - base)).sum(-1), counted)
    draws = rng.integers(len(kept), size=(2000, len(kept)))
    return {part: _report(part, left, where, draws) for part in found[0][2]}


@torch.no_grad()
def task_kept(
    model: Any, rows: Sequence[Tokens], template: Template, *, batch: int | None = None, seed: int = 0
) -> Report:
    """Measure how much of what an adapter learned of its task stays with the base's keys and values on the prefix.

    Costs 4 forward passes.

        kept = (log p with them - log p of the base) / (log p of the adapter - log p of the base)     of the rows' answers

    Args:
        model: PEFT model, or anything else whose adapter `disable_adapter()` switches off.
        rows: Rows of the task, preferably not trained on; those that do not begin with the prefix are left out.
        template: The template's tokens.
        batch: Rows in one forward pass; as many as fit if None.
        seed: Of the control's positions and the bootstrap.

    Returns:
        The report; its control is the same at `CONTROL`. NaN where the adapter learned nothing of these rows.

    Raises:
        BadInput: fewer than 4 rows begin with the prefix, or no adapter to switch off.
        CannotAttach: the model caches no keys and values.

    Example:
        >>> # task_kept(peft_model, held_out, Template.of(tokenizer)).value
    """
    check_switchable(model, "the patch test")
    front = len(template.prefix)
    found = [r for r in rows if tuple(r["input_ids"][:front]) == template.prefix]
    if len(found) < 4:
        raise BadInput(
            f"{len(found)} rows begin with the template's prefix; at least 4 are needed. Give chats of a user's turn"
        )
    ids = [r["input_ids"] for r in found]
    firsts = [next((i for i, label in enumerate(r["labels"]) if label != UNLEARNED and i), 1) - 1 for r in found]
    rng = np.random.default_rng(seed)
    where = {"prefix": [list(range(front))] * len(found)}
    where["other"] = _others(ids, where["prefix"], rng)
    logp = {name: np.zeros(len(found)) for name in ("base", "adapter", *where)}
    for name, chosen, counted, now in patched_passes(model, ids, firsts, where, batch):
        labels = pad_rows([found[i]["labels"] for i in chosen], UNLEARNED)[0].roll(-1, 1).to(now.device)
        labels[:, -1] = UNLEARNED
        next_one = labels[counted]
        taken = now.gather(-1, next_one.clamp(min=0)[:, None]).squeeze(-1) * (next_one != UNLEARNED)
        logp[name][chosen] = _row_sums(taken, counted)
    learned = logp["adapter"] - logp["base"]
    gains = {name: logp[name] - logp["base"] for name in where}
    if learned.sum() <= 0:
        return Report("task_kept", NAN, NAN, NAN, len(found), NAN, UNIT_TASK, spec={"control": CONTROL})
    draws = rng.integers(len(found), size=(2000, len(found)))
    low, high = np.nanquantile(gains["prefix"][draws].sum(1) / learned[draws].sum(1), [0.025, 0.975])
    value, control = (float(gains[name].sum() / learned.sum()) for name in where)
    return Report(
        "task_kept", value, float(low), float(high), len(found), control, UNIT_TASK, spec={"control": CONTROL}
    )


def _others(
    rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], rng: np.random.Generator
) -> list[list[int]]:
    """As many other positions of each row, or all there are."""
    free = [np.setdiff1d(np.arange(len(r)), at) for r, at in zip(rows, positions, strict=True)]
    return [rng.choice(f, min(len(at), len(f)), replace=False).tolist() for f, at in zip(free, positions, strict=True)]


def _row_sums(values: Float[Tensor, " n"], where: Bool[Tensor, "b t"]) -> np.ndarray:
    grid = values.new_zeros(where.shape)
    grid[where] = values
    return grid.sum(1).double().cpu().numpy()


def _report(
    part: str, left: Mapping[str, np.ndarray], where: Mapping[str, list[list[int]]], draws: np.ndarray
) -> Report:
    change = left["adapter"]

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
