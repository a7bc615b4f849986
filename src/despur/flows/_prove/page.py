"""Evidence as a page: every claim in a table, failures in the same place and type size, then the figures of each."""

from collections.abc import Sequence
from typing import Any

from despur.core.evidence import ERROR, FAILS, HOLDS, PROXY
from despur.flows._prove.proven import Evidence, Proven
from despur.report import Table, Text, Verdict

ORDER = (HOLDS, PROXY, FAILS, ERROR)


def evidence_blocks(evidence: Evidence) -> list[Any]:
    """The page's blocks: one claim on a page of its own, several as tables."""
    shown = [*evidence.proven, *evidence.earlier]
    methods = list(dict.fromkeys(p.method for p in shown))
    if len(methods) == 1:
        return _of_one(shown)
    count = {word: sum(p.verdict == word for p in shown) for word in ORDER}
    words = ", ".join(f"{n} {word}" if n else "" for word, n in count.items() if n)
    tone = "bad" if evidence.bad else "unsure" if count[FAILS] else "good"
    blocks: list[Any] = [Verdict(f"{len(methods)} methods", words, tone)]
    if evidence.lost:
        blocks.append(Text("Held before, and does not now", "\n\n".join(evidence.lost)))
    for form in ("statement", "mechanism"):
        if part := [p for p in shown if p.form == form]:
            blocks.append(_summary(form, part))
    for method in methods:
        parts = [p for p in shown if p.method == method]
        blocks += [Text(method, _story(parts[-1])), *(_figures(p) for p in parts if p.reports)]
    return blocks


def _of_one(shown: Sequence[Proven]) -> list[Any]:
    first = shown[-1]
    tone = "good" if first.good else "bad"
    blocks: list[Any] = [Verdict(first.verdict, f"{first.method}: {first.says}", tone), Text("Claim", _story(first))]
    return [*blocks, *(_figures(p) for p in shown if p.reports)]


def _summary(form: str, part: Sequence[Proven]) -> Table:
    rows = [
        [p.method, p.room, p.verdict, *p.closest, p.seconds]
        for p in sorted(part, key=lambda p: (ORDER.index(p.verdict), p.room, p.method))
    ]
    header = ["method", "room", "verdict", "what was measured", "value", "control", "seconds"]
    return Table(
        f"Every {form}", header, rows, "The figure is the one that comes closest to missing; all of them stand below."
    )


def _story(p: Proven) -> str:
    parts = [p.says, f"Control: {p.control}.", f"Margin: {p.margin:g}."]
    if p.proxy:
        parts.append(f"A stand-in; not claimed: {p.proxy}.")
    if p.reasons:
        parts.append("It misses: " + "; ".join(p.reasons) + ".")
    if p.error:
        parts.append(f"No verdict: {p.error}")
    return "\n\n".join(parts)


def _figures(p: Proven) -> Table:
    rows = [
        [r["name"], r["value"], r["low"], r["high"], r["n"], r["control"], r["spec"].get("bound"), r["unit"]]
        for r in p.reports
    ]
    header = ["figure", "value", "low", "high", "n", "control", "bound", "unit"]
    note = "Higher is better unless the bound is above the value. Low and high: 95 % interval."
    return Table(f"{p.method}: {p.form}, {p.verdict}, {p.seconds:.1f} s, seed {p.seed}", header, rows, note)
