"""What an audit's candidate says, does and comes from: for people, not for the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from despur.core import Subspace, Tuned
from despur.core.model.capture import capture
from despur.core.text.learn import learn_rows
from despur.core.text.rows import Tokens
from despur.core.text.turns import Turns
from despur.find.from_activations import mean_along
from despur.flows._audit.effort import effort_for
from despur.flows._audit.page import Audit
from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import Screen
from despur.flows.load import context_length
from despur.measure import continuations, loss_slopes, module_shares, promoted, rows_along
from despur.measure.scaled import can_scale, louder

TUNING = 512  # tuning rows that are looked at
_NO_SCALE = (
    "only a LoRA adapter without further weights can be measured at multiples of its scale, and this is another kind"
)


class TuningRows(NamedTuple):
    """The rows that an adapter was tuned on, as they came and as tokens.

    Args:
        rows: As `read_rows` gives them.
        tokens: The same, tokenised.
        notes: What was done to them.
    """

    rows: list[dict[str, Any]]
    tokens: Sequence[Tokens]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        rows: list[dict[str, Any]],
        model: Any,
        tokenizer: Any,
        *,
        turns: Turns = "all",
        name: Path | str | None = None,
    ) -> "TuningRows":
        """Tokenise rows for a model.

        Args:
            rows: As `read_rows` gives them.
            model: That they are for.
            tokenizer: Its tokenizer.
            turns: Of a chat, the assistant's turns that count.
            name: Where they come from, for errors.

        Raises:
            BadInput: see `learn_rows`.
        """
        learned = learn_rows(rows, tokenizer, max_length=context_length(model, 512), turns=turns, name=name or "rows")
        return cls(rows, learned.tokens, learned.notes)


def described(
    result: Audit, read: Tuned, tokenizer: Any, seen: Screen, passages: Passages, *,
    data: "TuningRows | None", scaled: bool, n_random: int, seed: int, roles: Mapping[str, str] | None = None,
) -> Audit:  # fmt: skip
    """Add to an audit what its best candidate says, does and comes from.

    Args:
        result: The audit so far.
        read: The tuned model.
        tokenizer: Its tokenizer.
        seen: What the verdict is based on.
        passages: Off-task text.
        data: The tuning rows, if they are known.
        turns: Which of the assistant's answers in a chat count.
        scaled: Whether to measure the adapter at multiples of its scale.
        n_random: Random directions to compare the loss slope with.
        seed: Seed of samples and random directions.
        roles: For architectures that are not in the table; see `stream_roles`.
    """
    assert result.best is not None
    tuned, adapter = read.model, read.adapter
    factor = seen.candidates[result.best]
    _, check = passages.halves()
    shift = mean_along(seen.moved, factor)
    if not shift.any():
        return result
    prompts = [r[: s + 1] if s else r[: max(1, len(r) // 2)] for r, s in zip(check.rows, check.starts, strict=True)]
    spent = effort_for(tuned)
    written = continuations(
        tuned, tokenizer, list(dict.fromkeys(prompts))[: spent.prompts], factor, shift, share=1.0, new=16, limit=spent.limit,
        trials=spent.trials, seed=seed,
    )  # fmt: skip
    return replace(
        result,
        factor=factor,
        tokens=promoted(tuned, tokenizer, shift, roles=roles),
        strength=written.strength,
        coherence=written.steps,
        samples=written.samples,
        modules=tuple(module_shares(adapter, tuned.get_base_model(), factor, roles=roles))
        if seen.unknown is None
        else (),
        louder=louder(tuned, check.rows, factor, starts=check.starts) if scaled and can_scale(tuned) else (),
        notes=(
            *result.notes,
            *(f"of the tuning rows, {note}" for note in (data.notes if data else ())),
            *([_NO_SCALE] if scaled and not can_scale(tuned) else []),
        ),
        **({} if data is None else _row_evidence(tuned, data, factor, seen, passages, n_random, seed)),
    )


def _row_evidence(
    tuned: Any, data: TuningRows, factor: Subspace, seen: Screen, passages: Passages, n_random: int, seed: int
) -> dict[str, Any]:
    rows, tokens, _ = data
    scored = rows_along(tuned, tokens, factor, mean_along(seen.moved, factor), k=5)
    order = (*scored.largest, *reversed(scored.smallest))
    find, _ = passages.halves()
    with tuned.disable_adapter():
        plain, _ = capture(tuned, find.rows, [factor.site], starts=find.starts)
    shifts = {n: mean_along(seen.moved, c) for n, c in seen.candidates.items()}
    slopes = loss_slopes(
        tuned, tokens, {n: s for n, s in shifts.items() if s.any()}, factor.site, torch.cov(plain[factor.site].T),
        n_random=n_random, seed=seed,
    )  # fmt: skip
    shown = tuple((_row_text(rows[i]), float(scored.scores[i])) for i in order)
    return {"rows": shown, "slopes": slopes}


def _row_text(row: dict[str, Any]) -> str:
    if "messages" in row:
        return " / ".join(m.get("content") or str(m.get("tool_calls", "")) for m in row["messages"])[:400]
    return row.get("text", f"{row.get('prompt')} / {row.get('completion')}")[:400]
