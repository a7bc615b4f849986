"""`despur clean`: factors out of a finished adapter."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from despur.cli.app import Base, Json, Seed, app, out_console
from despur.cli.progress import progress_bars

TONES = {"drift removed": "green", "drift lowered": "yellow", "no drift": "yellow", "no better than random": "red"}


@app.command()
def clean(
    base: Base,
    adapter: Annotated[str, typer.Argument(help="Folder of a plain LoRA adapter.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the result; the adapter is OUT/adapter.")],
    factors: Annotated[
        Path | None, typer.Option(help="Folder of an audit, or of factors; an audit is run if left out.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Rows of the task as JSON lines; without, no task figure.")] = None,
    side: Annotated[str, typer.Option(help="Project what writes the stream, what reads it, or both.")] = "both",
    truncate: Annotated[
        int | None, typer.Option(min=1, help="Singular directions kept by the truncation; a quarter if left out.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Off-task text as JSON lines; the base's own samples if left out.")
    ] = None,
    rows: Annotated[int, typer.Option(min=4, help="Rows of off-task text.")] = 96,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Take confirmed factors out of a finished adapter: the cheap baseline, measured beside its controls.

    A direction blocked in the weights after training does not undo what the update does by other routes. To keep a
    factor out, train with a guard: `despur train`.

    Example: `despur clean base/ adapter/ --factors audit/ -o cleaned/`
    """
    from despur.flows import clean as run

    with progress_bars(quiet=as_json) as progress:
        result = run(base, adapter, out=out, factors=factors, data=data, side=side, truncate=truncate, prompts=prompts,  # type: ignore[arg-type]
                     rows=rows, seed=seed, progress=progress)  # type: ignore[arg-type]  # fmt: skip
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=1, allow_nan=False))
        return
    out_console.print(f"[bold {TONES[result.verdict]}]{result.verdict}[/]: ", end="")
    out_console.print(result.sentence, highlight=False, markup=False)
    for note in result.notes:
        out_console.print(f"Not verified: {note}", style="dim", highlight=False, markup=False)
    table = Table(box=None, header_style="bold")
    for name in ("run", "task", "drift", "legitimate", "validity", "reads", "writes"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for run_name, axes in result.axes.items():
        leak = result.leak.get(run_name, {})
        cells = [_figure(axes.get(n)) for n in ("task", "drift", "legitimate", "validity")]
        cells += [_leak(leak.get(n)) for n in ("read", "write")]
        table.add_row(run_name, *cells, style="bold" if run_name == "cleaned" else None)
    out_console.print(table)
    out_console.print(
        "Base is (0, 0), the adapter (1, 1); legitimate use and validity are shares of the base's.\n"
        "Reads, writes: share of the update along the factor. Random: the same done to random subspaces.\n"
        "The cheap baseline: what the update does by other routes stays. Not a guard; see despur train.\n"
        f"Adapter (plain PEFT): [bold]{result.adapter}[/bold]\nReport: [bold]{out / 'report.html'}[/bold]",
        highlight=False,
    )


def _figure(report: Any) -> str:
    if report is None or report.value != report.value:
        return "–"
    half = (report.high - report.low) / 2
    return f"{report.value:.2f}" + (f" [dim]±{half:.2f}[/dim]" if report.name in ("task", "drift") else "")


def _leak(report: Any) -> str:
    return "–" if report is None else f"{report.value:.2g}"
