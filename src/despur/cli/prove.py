"""What `despur prove` prints: the sentence, the figures beside the control, the verdict; its exit status."""

from typing import Any

from rich.text import Text

from despur.cli.terminal import out_console, say, say_parts
from despur.cli.view import View, table
from despur.core.evidence import needed, short, state

TONES = {"holds": "green", "proxy holds": "green", "does not hold here": "yellow", "error": "red"}


def show(result: Any, given: Any) -> None:
    """One claim in full, several as a table."""
    entries = [*result.proven, *result.earlier]
    if len({p.method for p in entries}) == 1:
        for p in entries:
            _show_claim(p, shipped=p in result.earlier)
        if not given["whole"] and not result.earlier:
            say(f"Statement: {state(entries[0].method)}.")
        if not given["whole"]:
            say(f"Measure the statement here: despur prove {entries[0].method} --whole", "dim")
    else:
        _show_table(entries)
    for name in result.lost:
        say(f"Held before, and does not now: {name}", "red")
    if result.folder:
        say(f"Report: {result.folder}/report.html")


def _show_claim(p: Any, *, shipped: bool) -> None:
    where = "as shipped" if shipped else f"{p.seconds:.1f} s, seed {p.seed}"
    say_parts([(p.method, "bold"), f", {p.form} ({where}): ", (p.verdict, f"bold {TONES[p.verdict]}")])
    if p.error:
        say(f"No verdict: {p.error}")
        return
    say(f"Claim: {p.says}")
    say(f"Control: {p.control}")
    if p.proxy:
        say(f"A stand-in; not claimed: {p.proxy}")
    made = table("figure", "value", "interval", "n", "control", "needed")
    for r in p.reports:
        interval = "exact" if r["low"] == r["high"] else f"[{short(r['low'])}, {short(r['high'])}]"
        made.add_row(r["name"], short(r["value"]), interval, str(r["n"]), short(r["control"]), needed(r, p.margin))
    out_console.print(made)
    for reason in p.reasons:
        say(f"Misses: {reason}", "yellow")


def _show_table(entries: Any) -> None:
    made = table("method", "form", "verdict", "value", "control", "s", left=3)
    for column in made.columns:
        column.no_wrap = True
    for p in entries:
        _, value, control = p.closest
        made.add_row(
            p.method, p.form, Text(p.verdict, TONES[p.verdict]), short(value), short(control), f"{p.seconds:.1f}"
        )
    out_console.print(made)
    good, count = sum(p.good for p in entries), len(entries)
    say(f"{good} of {count} hold. Of each the figure that comes closest to missing; the report has all.")


VIEWS = {"prove": View(show, status=lambda result, given: int(result.bad))}
