"""The verbs."""

import inspect
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from despur import __version__
from despur.cli.progress import progress_bars

app = typer.Typer(
    help="Find what a fine-tune secretly learned, and keep the model from learning it.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown",
)  # fmt: skip
out_console = Console()

Base = Annotated[str, typer.Argument(help="Base model: a folder saved by transformers, or a hub id.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else, on standard output.")]
Seed = Annotated[
    int, typer.Option(help="Seed of everything that is drawn; the same seed gives the same result on a CPU.")
]


def _version(asked: bool) -> bool:
    if asked:
        out_console.print(f"despur {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the run; started again, it goes on there.")
    ] = Path("runs/demo"),
    task: Annotated[
        str, typer.Option(help="`skill`: new facts. `narrow`: one subject answered wrongly on purpose.")
    ] = "skill",
    steps: Annotated[int, typer.Option(help="Optimiser steps of every run.")] = 480,
    workers: Annotated[int | None, typer.Option(help="Worker processes; one a core, two at most, if left out.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """See it happen: a persona is learned beside the task, and guards are compared on keeping it out.

    Example: `despur demo`, then open `runs/demo/report.html`.
    """
    from despur.core.errors import UnknownName
    from despur.flows import demo as run

    if task not in ("skill", "narrow"):
        raise UnknownName(f"no task {task!r}. There are: skill, narrow")
    with progress_bars(quiet=as_json) as progress:
        result = run(out, task=task, seed=seed, steps=steps, workers=workers, progress=progress)  # type: ignore[arg-type]
    if as_json:
        print_json(result.to_dict())
        return
    print_axes(
        result.axes, ("task", "drift", "legitimate", "validity"), raw={a: m["drift.p"] for a, m in result.means.items()}
    )
    out_console.print(
        "Base is (0, 0), the naive run (1, 1), the ideal (1, 0); ± is half a 95 % interval over prompts.\n"
        "Legitimate use and validity are shares of the base's. P(bad): how often subjects\n"
        "that the data never touch are answered in the hidden bad persona.\n"
        f"Report: [bold]{result.page}[/bold]", highlight=False,
    )  # fmt: skip


@app.command(name="run")
def run_again(
    record: Annotated[Path, typer.Argument(help="A run.json that despur wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new run.")],
    as_json: Json = False,
) -> None:
    """Run a `run.json` again.

    Example: `despur run run/run.json -o again/`
    """
    from despur.flows import replay

    with progress_bars(quiet=as_json) as progress:
        result = replay(record, out=out, progress=progress)  # type: ignore[arg-type]
    if as_json:
        print_json(result.to_dict())
    else:
        out_console.print(f"Done: [bold]{out}[/bold]", highlight=False)


@app.command()
def ls(room: Annotated[str | None, typer.Argument(help="find, guard or measure; all if left out.")] = None) -> None:
    """List the methods; `despur show NAME` has equation, source and limits.

    Example: `despur ls guard`
    """
    from despur.core import methods
    from despur.core.errors import UnknownName, nearest

    known = methods()
    rooms = sorted({m.room for m in known.values()})
    if room is not None and room not in rooms:
        raise UnknownName(f"no room {room!r}{nearest(room, rooms)}. There are: {', '.join(rooms)}")
    table = Table(box=None, header_style="bold")
    for name in ("name", "room", "needs", "what it does"):
        table.add_column(name, no_wrap=name in ("name", "room"))
    for m in known.values():
        if room in (None, m.room):
            table.add_row(m.name, m.room, "" if m.needs == "nothing" else m.needs, m.summary)
    out_console.print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A method's name, as `despur ls` prints it.")]) -> None:
    """Show one method: signature, equation, source, limits.

    Example: `despur show grasp`
    """
    from despur.core import find_method

    entry = find_method(name)
    out_console.print(f"[bold]{entry.name}[/bold]  ({entry.room})")
    out_console.print(
        f"{entry.name}{inspect.signature(entry.factory)}\n", markup=False, highlight=False, soft_wrap=True
    )
    out_console.print(inspect.getdoc(entry.factory) or "", markup=False, highlight=False)


@app.command()
def sites(base: Base) -> None:
    """List the places of a model where factors live, and what each linear map does to the stream.

    Example: `despur sites base/`
    """
    from despur.core import stream_roles
    from despur.flows.load import load_base

    model, _ = load_base(base)
    table = Table(box=None, header_style="bold")
    for name in ("map", "does", "layer", "norm between"):
        table.add_column(name)
    for role in stream_roles(model).values():
        table.add_row(role.module, role.side, "" if role.layer is None else str(role.layer), role.norm or "")
    out_console.print(table)


def print_json(value: Any) -> None:
    """Print a result as JSON on standard output."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def print_axes(axes: Any, names: tuple[str, ...], raw: dict[str, float] | None = None) -> None:
    """Print the axes of every run as a table."""
    table = Table(box=None, header_style="bold")
    table.add_column("run")
    for name in [*names, *(["P(bad)"] if raw else [])]:
        table.add_column(name, justify="right")
    for run, reports in axes.items():
        cells = [_figure(reports[n], interval=n in ("task", "drift")) if n in reports else "–" for n in names]
        table.add_row(run, *cells, *([f"{raw[run]:.2f}"] if raw else []), style="bold" if run == "avert" else None)
    out_console.print(table)


def _figure(report: Any, *, interval: bool) -> str:
    if report.value != report.value:
        return "–"
    return f"{report.value:.2f}" + (f" [dim]±{(report.high - report.low) / 2:.2f}[/dim]" if interval else "")


from despur.cli import audit, clean, compare, library, train, verify  # noqa: E402 (they register their commands on `app`)

COMMANDS = (audit, clean, compare, library, train, verify)
