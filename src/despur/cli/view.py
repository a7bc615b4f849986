"""What a command prints, its exit status, and the parts that several commands share."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from despur.cli.terminal import out_console, say, say_parts, say_plain


@dataclass(frozen=True)
class View:
    """What one command adds; everything else comes from its function.

    Args:
        show: Prints a result; it is given the options, too.
        plain: Makes plain values of it, for `--json`; it is given the options, too.
        status: Exit status of a result.
        broken: Plain values for `--json` where the function raised a `DespurError`.
        say_as: Prints plain values in the format that the options name.
        more: A dataclass whose fields are options of the command alone.
        run: Calls the function with its arguments; it is given the options, too.
        note: A paragraph for the help page.
        imports: Modules that the function imports in any case.
    """

    show: Callable[[Any, Mapping[str, Any]], None]
    plain: Callable[[Any, Mapping[str, Any]], Any] = lambda result, given: result.to_dict()
    status: Callable[[Any, Mapping[str, Any]], int] = lambda result, given: 0
    broken: Callable[[Mapping[str, Any], Exception], Any] | None = None
    say_as: Callable[[Any, Mapping[str, Any]], None] | None = None
    more: type | None = None
    run: Callable[[Callable[..., Any], dict[str, Any], Mapping[str, Any]], Any] = lambda call, arguments, given: call(
        **arguments
    )
    note: str = ""
    imports: tuple[str, ...] = ()


def print_json(value: Any) -> None:
    """Print a result as JSON on standard output."""
    say_plain(json.dumps(value, indent=1, allow_nan=False))


def say_verdict(result: Any, tones: Mapping[str, str], notes: str = "") -> None:
    """Print a verdict, its sentence and its notes, each after a label."""
    say_parts([(result.verdict, f"bold {tones[result.verdict]}"), ": ", result.sentence])
    for note in result.notes if notes else ():
        say(f"{notes}: {note}", "dim")


def table(*names: str, left: int = 1) -> Table:
    """A table without lines; columns from `left` on are figures, aligned right."""
    made = Table(box=None, header_style="bold")
    for number, name in enumerate(names):
        made.add_column(name, justify="left" if number < left else "right")
    return made


def print_axes(axes: Any, names: tuple[str, ...], raw: Mapping[str, float] | None = None) -> None:
    """Print the axes of every run as a table."""
    made = table("run", *names, *(["P(bad)"] if raw else []))
    for run, reports in axes.items():
        cells = [figure(reports.get(n)) for n in names]
        made.add_row(run, *cells, *([f"{raw[run]:.2f}"] if raw else []), style="bold" if run == "avert" else None)
    out_console.print(made)


def figure(report: Any) -> Text:
    """A report's value, with half of its interval where it is of task or drift."""
    if report is None or report.value != report.value:
        return Text("–")
    half = (report.high - report.low) / 2
    return Text.assemble(f"{report.value:.2f}", (f" ±{half:.2f}" if report.name in ("task", "drift") else "", "dim"))
