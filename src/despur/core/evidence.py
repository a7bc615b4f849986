"""The evidence that despur ships: how every claim ended when it was last run whole; read without importing anything heavy."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[1] / "evidence.json"
FORMS = ("statement", "mechanism")
HOLDS, FAILS, PROXY, ERROR, NOT_RUN = "holds", "does not hold here", "proxy holds", "error", "not run"


@cache
def shipped() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Method -> form -> what `Proven.to_dict` gives; empty where none is shipped."""
    return grouped(json.loads(SHIPPED.read_text(encoding="utf-8"))["proven"]) if SHIPPED.exists() else {}


def grouped(proven: Any) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Sort what was proven by method and form.

    Example:
        >>> grouped([{"method": "caft", "form": "statement", "verdict": "holds"}])["caft"]["statement"]["verdict"]
        'holds'
    """
    by: dict[str, dict[str, Mapping[str, Any]]] = {}
    for p in proven:
        by.setdefault(p["method"], {})[p["form"]] = p
    return by


def state(method: str) -> str:
    """The verdict on a method's statement, as shipped; `not run` where there is none.

    Example:
        >>> state("no-such-method")
        'not run'
    """
    return str(shipped().get(method, {}).get("statement", {}).get("verdict", NOT_RUN))


def short(value: float | None) -> str:
    """A figure of a report, in three digits.

    Example:
        >>> short(0.4567), short(1.5e-8), short(None)
        ('0.457', '1.5e-08', '–')
    """
    if value is None:
        return "–"
    return f"{value:.1e}" if value and abs(value) < 1e-3 else f"{value:.3g}"


def needed(report: Mapping[str, Any], margin: float) -> str:
    """What a report must reach for its claim to hold.

    Args:
        report: As `Report.to_dict` gives it.
        margin: Of the claim, where the report has none of its own.
    """
    bound, higher = report["spec"].get("bound"), report["higher_is_better"]
    ahead = f"{short(report['spec'].get('margin', margin))} {'above' if higher else 'below'} control"
    return ahead if bound is None else f"{'at least' if higher else 'at most'} {short(bound)}, {ahead}"
