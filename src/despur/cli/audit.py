"""What `despur audit` and `despur calibrate` print, and which verdicts fail."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from despur.cli.audit_rows import show_answers, show_rows
from despur.cli.terminal import out_console, say, say_parts, say_plain
from despur.cli.view import View, print_json, say_verdict, table
from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput
from despur.core.text.row_files import are_rows
from despur.core.visible import visible
from despur.flows.formats import FILES, Format, as_junit, as_sarif
from despur.flows.option import Option

TONES = {
    "clean": "green", "factors found": "red", "factor likely": "red", "diffuse change": "yellow", "inert adapter": "green",
    "inert scout": "yellow",
    "unreadable": "red",
}  # fmt: skip
FAILED = 3  # exit status of a verdict that --fail-on names


def read_verdicts(text: str) -> set[str]:
    """Read verdicts separated by commas; spaces, dashes and underscores between words are the same.

    Raises:
        BadInput: an unknown verdict.
    """
    named = {re.sub(r"[-_ ]+", " ", word.strip()) for word in text.split(",")} - {"none", ""}
    if wrong := sorted(named - set(TONES)):
        raise BadInput(f"--fail-on got {wrong[0]!r}. There are: {', '.join(TONES)}, none")
    return named


@dataclass(frozen=True)
class FailOn:
    """What a pipeline adds to an audit.

    Args:
        fail_on: Verdicts, separated by commas, that exit with status 3; `none` for none.
        format: What is printed: text; `json` as `--json`; `sarif` for code scanning or `junit` for test reports, which are written into
            the output folder, too, as `audit.sarif` and `audit.xml`.
    """

    fail_on: Annotated[str, Option(read=read_verdicts)] = "factors found,factor likely"
    format: Format = "text"


def unreadable(given: Any, error: Any) -> Any:
    """The audit of what cannot be read."""
    from despur.flows import unreadable as audit_of

    return audit_of(given["base"], given["adapter"], error).to_dict()


def say_as(values: Any, given: Any) -> None:
    """The result in another tool's format, on standard output and in the folder."""
    kind, failing = given["format"], sorted(given["fail_on"])
    if kind == "json":
        print_json(values)
        return
    adapter = str(given["adapter"])
    text = (
        as_junit(values, adapter, failing)
        if kind == "junit"
        else json.dumps(as_sarif(values, adapter, failing), indent=1, allow_nan=False) + "\n"
    )
    say_plain(text.rstrip("\n"))
    if given["out"] is not None and Path(given["out"]).is_dir():
        write_bytes(Path(given["out"]) / FILES[kind], text.encode())


def show(result: Any, given: Any) -> None:
    """The verdict and what it was judged by."""
    if are_rows(given["adapter"]):
        show_rows(result, given, TONES)
        return
    say_verdict(result, TONES, notes="Not verified")
    show_answers(result.answers)
    if result.louder_words:
        found = result.louder_words.found
        for text in found.texts[:2]:
            say(f"Louder (x {found.times:g}): {visible(text, one_line=True)}")
    if structure := result.update.get("structure"):
        say(f"Weights: {structure['sentence']}")
    for found in result.update.get("findings", ()):
        if found["level"] != "note":
            say(f"Weights, {found['rule']}: {visible(found['sentence'], one_line=True)}")
    if result.token_use:
        say("Used more or less: " + ", ".join(f"{t!r} {a:.2g} → {b:.2g}" for t, a, b in result.token_use[:8]))
    if result.checks:
        _show_checks(result)
    if result.patch:
        say("Chat: " + result.patch_sentence)
    for kind, words in result.tokens.items():
        say(f"{kind}: " + " ".join(repr(w) for w in words))
    for at in result.louder:
        say(
            f"x {at.scale:g}: {at.change:.3g} nats per token, {at.token_share:.0%} of it the same in every context, "
            f"{at.sufficiency:.0%} along {result.best}; {at.valid:.0%} of the probability stays on tokens the base would say"
        )
    if result.samples and result.verdict in ("factors found", "factor likely"):
        for name in ("prompt", "base", "base + factor", "adapter"):
            say(f"{name + ':':<15}{visible(result.samples[0][name], one_line=True)}")
    if given["out"] is not None:
        say_parts(["Report: ", (str(Path(given["out"]) / "report.html"), "bold")])


def _show_checks(result: Any) -> None:
    made = table("candidate", "rank", "evidence", "sufficiency", "95 %", "random, largest", "necessity")
    for name, c in result.checks.items():
        made.add_row(
            name, str(c.rank), f"{result.scores[name]:+.1f}" if name in result.scores else "–", f"{c.sufficiency:.2f}",
            f"{c.interval[0]:.2f} to {c.interval[1]:.2f}",
            f"{max(c.random_sufficiency):.2f}" if c.random_sufficiency else "–", "–" if c.necessity is None else f"{c.necessity:.2f}",
            style="bold" if name == result.best else None,
        )  # fmt: skip
    if "tokens" in result.scores:
        made.add_row(
            "same in every context", "–", f"{result.scores['tokens']:+.1f}", f"{result.token_share:.2f}", "–", "–", "–"
        )
    out_console.print(made)
    out_console.print("Evidence is in standard deviations above neutral tunes that change as much.", style="dim")


VIEWS = {
    "audit": View(
        show, broken=unreadable, say_as=say_as, more=FailOn, imports=("transformers.modeling_utils", "peft"),
        status=lambda result, given: FAILED if result.verdict in given["fail_on"] else 0,
        note="**Exit status**: 0, or 3 for a verdict in `--fail-on`, or 2 where base, adapter or data cannot be read.",
    ),
    "calibrate": View(
        lambda null, given: say_parts([null.origin, ": ", (str(given["out"]), "bold")]),
        plain=lambda null, given: {"origin": null.origin, "base": null.base, "adapters": len(null.changes)},
    ),
}  # fmt: skip
