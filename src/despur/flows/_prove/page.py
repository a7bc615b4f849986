"""Evidence as a page: every claim in a table, failures in the same place and type size, then the figures of each."""

from collections.abc import Sequence
from typing import Any

from despur.core.evidence import ERROR, FAILS, HOLDS, PROXY
from despur.flows._prove.proven import Evidence, Proven
from despur.report import Bars, Omitted, Table, Text, Verdict

ORDER = (HOLDS, PROXY, FAILS, ERROR)
TODO = {
    HOLDS: "You may build on it in settings like those below.",
    PROXY: "You may build on the stand-in that was measured; the statement itself is open.",
    FAILS: "Do not rely on it here: the figures below say where it misses. despur ls shows what else there is.",
    ERROR: "This proves nothing: the claim did not run to its end.",
}


def evidence_blocks(evidence: Evidence) -> list[Any]:
    """The page's blocks: one claim on a page of its own, several as tables."""
    entries = [*evidence.proven, *evidence.earlier]
    methods = list(dict.fromkeys(p.method for p in entries))
    if len(methods) == 1:
        return _of_one(entries)
    tone = "bad" if evidence.bad else "good" if all(p.good for p in entries) else "unsure"
    parts = {form: [p for p in entries if p.form == form] for form in ("statement", "mechanism")}
    words = "; ".join(_counted(form, part) for form, part in parts.items() if part)
    blocks: list[Any] = [Verdict(f"{len(methods)} methods", words, tone)]
    if evidence.lost:
        blocks.append(Text("Held before, and does not now", "\n\n".join(evidence.lost)))
    blocks += _areas(parts["statement"])
    blocks += [_summary(form, part) for form, part in parts.items() if part]
    for method in methods:
        own = [p for p in entries if p.method == method]
        blocks += [Text(method, _story(own[-1])), *(_figures(p) for p in own if p.reports)]
    return blocks


def _counted(form: str, part: Sequence[Proven]) -> str:
    """How many of a form ended how: "statements: 9 hold, 20 do not hold here"."""
    plural = {HOLDS: "hold", PROXY: "hold as stand-ins", FAILS: "do not hold here", ERROR: "gave an error"}
    count = {word: sum(p.verdict == word for p in part) for word in ORDER}
    return f"{form}s: " + ", ".join(f"{n} {plural[word]}" for word, n in count.items() if n)


def _areas(part: Sequence[Proven]) -> list[Bars]:
    """What guards learn of the task without the drift, world by world, the best first."""
    found = [
        (r["name"], p.method, r) for p in part for r in p.reports if r["unit"] == "area" and r["value"] is not None
    ]
    worlds = [name for name in dict.fromkeys(name for name, _, _ in found) if sum(n == name for n, _, _ in found) > 2]
    note = "0 base and unguarded run, 1 the ideal; 95 % over prompts. Controls stand in the tables."
    return [
        Bars(
            f"The task without the drift: {name}",
            sorted(((m, r["value"], r["low"], r["high"]) for n, m, r in found if n == name), key=lambda bar: -bar[1]), note,
        )
        for name in worlds
    ]  # fmt: skip


def _of_one(entries: Sequence[Proven]) -> list[Any]:
    first = entries[-1]
    tone = "good" if first.good else "bad"
    sure = (
        "; ".join(first.reasons)
        or f"Every figure is ahead of its control by the margin of {first.margin:g}, declared before the run."
    )
    beside = [
        ("How sure", f"It misses: {sure}" if first.reasons else sure),
        ("Against which control", f"{first.control[:1].upper()}{first.control[1:]}."),
        ("What to do", TODO[first.verdict]),
    ]
    word = f"{first.method}: {first.verdict}"
    blocks: list[Any] = [Verdict(word, first.says or first.error, tone, beside)]
    if first.proxy or first.error:
        blocks.append(Text("Claim", _story(first)))
    forms = {p.form for p in entries}
    left = [f for f in ("mechanism", "statement") if f not in forms]
    why = {"mechanism": "it was not run", "statement": "not asked for (--whole): it takes a minute or more"}
    omitted = [(f"the {form}", why[form]) for form in left] + [
        ("answers of a model", "a claim is about figures; despur audit shows answers")
    ]
    return [*blocks, *(_figures(p) for p in entries if p.reports), Omitted(omitted)]


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
