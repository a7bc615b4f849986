"""Where in a chat the off-task change sits: the patch test, as an audit runs and shows it."""

from collections.abc import Mapping
from typing import Any

from despur.core import Report
from despur.core.errors import DespurError
from despur.core.text.template import Template
from despur.flows._audit.effort import effort_for
from despur.flows._audit.json_form import Patch
from despur.flows._audit.passages import Passages
from despur.measure import patch_shares
from despur.report import Bars

_WHERE = {"prefix": "before the user's words", "question": "that are the user's words", "tail": "before the answer"}


def patched(model: Any, tokenizer: Any, passages: Passages, *, seed: int) -> dict[str, Report]:
    """Shares of the change that the parts of a chat carry; none where there is no template, or the text is no chat of it."""
    _, check = passages.halves()
    most = effort_for(model).patched
    rows, begins = check.rows[:most], [start + 1 for start in check.starts[:most]]
    try:
        return patch_shares(model, rows, begins, Template.of(tokenizer), seed=seed)
    except DespurError:
        return {}


def patch_sentence(shares: Mapping[str, Report]) -> str:
    """What the shares say."""
    parts = [
        f"on the {r.spec['tokens']:.0f} tokens {_WHERE[part]} {r.value:.0%} (as many others {r.control:.0%})"
        for part, r in shares.items()
    ]
    return f"with the base's keys and values the adapter loses of its off-task change: {', '.join(parts)}"


def patch_bars(shares: Mapping[str, Report]) -> Bars:
    """The same as a drawing."""
    bars: list[tuple[str, float, float | None, float | None]] = []
    for part, r in shares.items():
        bars += [
            (f"{part} ({r.spec['tokens']:.0f} tokens)", r.value, r.low, r.high),
            (f"as many others ({r.spec['control_tokens']:.0f})", r.control, None, None),
        ]
    note = (
        "Share of the off-task change that is gone when the adapter gets the base's keys and values at these positions of a chat. "
        "What sits in the prefix, which every chat begins with, reaches every answer."
    )
    return Bars("Where in a chat the change sits", bars, note)


def patch_json(shares: Mapping[str, Report]) -> dict[str, Patch]:
    """Plain values for JSON."""
    return {
        part: {
            "share": r.value, "interval": (r.low, r.high), "control": r.control, "tokens": r.spec["tokens"],
            "control_tokens": r.spec["control_tokens"], "rows": r.n,
        }
        for part, r in shares.items()
    }  # fmt: skip
