"""`despur compare` and `despur report`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from despur.cli.app import Json, app, out_console, print_json
from despur.cli.progress import progress_bars

MIN_STEPS = 8
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of the study; started again, it goes on there.")]


@app.command()
def compare(
    worlds: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORLDS|BASE]",
            help="Worlds, separated by commas, or with DATA your own base; left out, the folder's plan.",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Argument(help="Your own rows to tune on, with --probes.")] = None,
    out: Out = Path("runs/compare"),
    probes: Annotated[
        Path | None, typer.Option(help="What your tune must not change: JSON lines of axis, prompt, good, bad.")
    ] = None,
    guards: Annotated[
        str | None, typer.Option(help="Guards, separated by commas; each brings its control. All if left out.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Report seeds; 8 if left out.")] = None,
    tuning_seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds on which settings are chosen; 3 if left out.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Optimiser steps of every run: `120`, or `persona=80,slant=120`. Each world has its own."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two seeds, six guards, half the steps, no tuning: minutes.")
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(help="Guards to test afterwards: trained on without, taught again, pushed, at other ranks."),
    ] = None,
    after_seeds: Annotated[int, typer.Option(min=1, help="On how many of the report seeds.")] = 3,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes; one a core if left out.")] = None,
    engine: Annotated[
        str, typer.Option(help="`local` processes, or `ray`: RAY_ADDRESS, or a cluster started here.")
    ] = "local",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the runs, time some steps, say how long it will take.")
    ] = False,
    deviate: Annotated[
        bool, typer.Option("--deviate", help="Go on with another plan than the registered one; the report says so.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare guards and controls on the same work, with statistics that can be trusted.

    Example: `despur compare persona --quick`, then open `runs/compare/report.html`.

    Example: `despur compare persona,advice,slant --seeds 8 -o study/ --dry-run`, then `despur compare -o study/`.

    Example: `despur compare base/ data.jsonl --probes probes.jsonl --guards avert,grasp,early -o study/`
    """
    from despur.core.errors import BadInput, UnknownName
    from despur.flows import compare as run
    from despur.flows import estimate, settle

    if engine not in ("local", "ray"):
        raise UnknownName(f"no engine {engine!r}. There are: local, ray")
    if (data is None) != (probes is None):
        raise BadInput("your own work needs all three, as in: despur compare BASE DATA --probes FILE")
    own = {"base": worlds or "", "data": str(data), "probes": str(probes)} if data else None
    named = () if own else _names(worlds) or ()
    asked: dict[str, Any] = {
        "guards": _names(guards), "seeds": seeds, "tuning_seeds": tuning_seeds, "steps": _steps(steps), "quick": quick, "deviate": deviate,
    }  # fmt: skip
    if dry_run:
        plan, _ = settle(named, out, own=own, **asked)
        said = estimate(plan, out, workers=jobs)
        if as_json:
            print_json(said.to_dict())
        else:
            _print_estimate(said)
        return
    with progress_bars(quiet=as_json) as progress:
        told: Any = progress
        study = run(
            named,
            out=out,
            own=own,
            workers=jobs,
            engine=engine,
            progress=told,
            after=_names(after) or (),
            after_seeds=after_seeds,
            **asked,
        )
    _show(study, as_json)


@app.command()
def report(
    study: Annotated[Path, typer.Argument(help="Folder of a study, complete or not.")], as_json: Json = False
) -> None:
    """Judge what a study's folder holds, and write its tables and its page again.

    Example: `despur report runs/compare`
    """
    from despur.flows import report as judge

    _show(judge(study), as_json)


def _names(said: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in said.split(",") if name.strip()) if said else None


def _steps(said: str | None) -> int | dict[str, int] | None:
    """`120` for every world, or `persona=80,slant=120`."""
    from despur.core.errors import BadInput

    pairs = [part.rpartition("=") for part in _names(said) or ()]  # (world, "=", number), or ("", "", number)
    if any(not n.isdigit() or int(n) < MIN_STEPS for *_, n in pairs) or not (
        len(pairs) < 2 or all(world for world, *_ in pairs)
    ):
        raise BadInput(
            f"--steps {said}: a number of {MIN_STEPS} or more, or one a world, as in --steps persona=80,slant=120"
        )
    by_world = {world: int(n) for world, _, n in pairs}
    return by_world.get("", by_world or None)


def _show(study: Any, as_json: bool) -> None:
    if as_json:
        print_json(study.to_dict())
    else:
        for world in study.grids:
            out_console.print(_table(world, study))
        for run, why in study.failed.items():
            out_console.print(f"Failed: {run}: {why}", style="red", highlight=False, markup=False, soft_wrap=True)
        for told in study.deviations:
            out_console.print(f"Note: {told}", style="dim", highlight=False, markup=False, soft_wrap=True)
        out_console.print(
            "Area: task × (1 - drift) that a guard's settings dominate: base and naive run 0, the ideal 1.\n"
            f"p: {study.plan.judged} against it, sign-flip over seeds, all baselines jointly.\n"
            f"Plan {study.plan.digest[:12]}, {study.seconds / 60:.0f} minutes of processor time. Report: [bold]{study.page}[/bold]",
            highlight=False,
        )
    if study.failed:
        raise typer.Exit(1)


def _table(world: str, study: Any) -> Table:
    table = Table(title=f"[bold]{world}[/bold]", title_justify="left", box=None, header_style="bold")
    for name in ("guard", "area", "95 %", "task", "drift", "legit.", "valid.", "cost", "p"):
        table.add_column(name, justify="left" if name == "guard" else "right", no_wrap=True)
    lines = [x for x in study.lines if x.world == world]
    for x in sorted(lines, key=lambda x: -x.area if x.area == x.area else 1):
        axes = [_figure(x.axes[a]) for a in ("task", "drift", "legitimate", "validity")]
        table.add_row(
            f"[dim]{x.guard}[/dim]" if x.kind in ("control", "reference") else x.guard, _figure(x.area),
            f"{_figure(x.low)}–{_figure(x.high)}", *axes, _figure(x.cost, 1), _figure(x.above.get("p_joint", float("nan"))),
            style="bold" if x.guard == study.plan.judged else None,
        )  # fmt: skip
    return table


def _figure(value: float, digits: int = 2) -> str:
    return "–" if value != value else f"{value:.{digits}f}"


def _print_estimate(said: Any) -> None:
    for world, (tuning, report) in said.runs.items():
        out_console.print(
            f"{world}: {tuning} runs on tuning seeds, at most {report} on report seeds; a plain run takes {said.plain[world]:.1f} s",
            highlight=False,
        )
    out_console.print(
        f"{said.done} runs are there. At most {said.hours:.1f} hours with {said.workers} workers, each on a core of its own; guards "
        "that are clearly dominated on the tuning seeds cost one setting only.", highlight=False, soft_wrap=True,
    )  # fmt: skip
