"""What `despur table` prints."""

from collections.abc import Callable, Mapping
from typing import Any

from despur.cli.terminal import out_console, say
from despur.cli.view import View, table


def run(call: Callable[..., Any], arguments: dict[str, Any], given: Mapping[str, Any]) -> Any:
    """Write the table without a frame of it in memory."""
    from despur.flows import write_table

    return write_table(**arguments)


def show(result: Any, given: Any) -> None:
    """A line an axis, then the file and the next step."""
    made = table("axis", "rows", "runs", "prompts", "modules", "missing")
    for axis, c in result.axes.items():
        share = f"{c['missing'] / c['rows']:.1%}" if c["missing"] else "–"
        made.add_row(axis, *(f"{c[k]:,}" if c[k] else "–" for k in ("rows", "runs", "prompts", "modules")), share)
    out_console.print(made)
    for note in result.notes:
        say(f"Note: {note}", "dim")
    share = f"{result.missing / result.rows:.2%} of them without a value" if result.missing else "all with a value"
    say(f"{result.rows:,} rows of {result.runs:,} run{'s' * (result.runs != 1)}, {share}")
    if result.out is None:
        say("Nothing was written. Name a file: -o traces.parquet")
        return
    if result.activations:
        say(f"Activations: {result.activations}")
    say(f"Table: {result.out}", "bold")
    say(f"Next: despur fit NAME {result.out} {next_step(result.axes)}")


def next_step(axes: Mapping[str, Mapping[str, int]]) -> str:
    """What of the table a finder can begin with: drift of runs by prompt where it is there, then spectra by module."""
    if axes.get("drift", {}).get("prompts"):
        return "--rows run --cols prompt --value drift"
    return (
        "--rows module --cols index --value 'singular value'" if "singular value" in axes else "--rows run --cols axis"
    )


VIEWS = {"table": View(show, run=run)}
