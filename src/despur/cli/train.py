"""`despur train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from despur.cli.app import Base, Json, Seed, app, out_console, print_axes, print_json
from despur.cli.config import Config, read_config
from despur.cli.progress import progress_bars
from despur.core.errors import BadInput

_COURSE, _GUARD = "While it trains", "Scout and guard"


def _resume(ctx: Any, folder: Path | None) -> Path | None:
    """Make the arguments of a folder's run the defaults, the folder among them."""
    if folder is None or ctx.resilient_parsing:
        return folder
    config = folder / "config.yaml"
    if not config.is_file():
        raise BadInput(
            f"--resume {str(folder)!r}: no config.yaml there, so no run to go on with. Start one: despur train BASE DATA -o {folder}"
        )
    read_config(ctx, config)
    ctx.default_map["out"] = str(folder)
    return folder


@app.command()
def train(
    base: Base,
    data: Annotated[
        Path,
        typer.Argument(
            help="Rows of messages, prompt/completion or text: JSON lines, .gz, parquet, a `datasets` folder; `-` reads them in."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run; the adapter is OUT/adapter.")],
    config: Config = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", callback=_resume, is_eager=True, help="Folder of a run to go on with; needs nothing else."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take OUT though it holds another run; equal stages are kept.")
    ] = False,
    guard: Annotated[str, typer.Option(help="avert, grasp, rehearse, hold or none.")] = "avert",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 300,
    lr: Annotated[float, typer.Option(min=0, help="Learning rate, falling linearly to zero.")] = 1e-4,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 16,
    rank: Annotated[int, typer.Option(min=1, help="LoRA rank; alpha is twice that.")] = 16,
    targets: Annotated[
        str,
        typer.Option(
            help="Maps that get LoRA: all-linear, readers (those that read the stream, which `grasp` can hold whole), or names "
            "with commas."
        ),
    ] = "all-linear",
    max_length: Annotated[int, typer.Option(min=8, help="Tokens of a row that are kept.")] = 1024,
    save_every: Annotated[
        int | None,
        typer.Option(
            min=0, rich_help_panel=_COURSE,
            help="Steps between checkpoints; 0 for none. A tenth of a stage of 100 steps or more if left out.",
        ),
    ] = None,
    eval_every: Annotated[
        int,
        typer.Option(
            min=0, rich_help_panel=_COURSE,
            help="Steps between evaluations: loss on held-out rows, change on own text; OUT/history.json has them. 0 for none.",
        ),
    ] = 0,
    patience: Annotated[
        int,
        typer.Option(
            min=0, rich_help_panel=_COURSE,
            help="End after so many evaluations without a lower held-out loss, and take the best adapter. 0 for no end.",
        ),
    ] = 0,
    strength: Annotated[
        float, typer.Option(min=0, rich_help_panel=_GUARD, help="Strength of the guard; 1 is its default.")
    ] = 1.0,
    scout_steps: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_GUARD, help="Steps of the unguarded scout; a quarter if left out."),
    ] = None,
    scout: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_GUARD, help="Adapter to take as the scout, of an earlier run; none is trained then."
        ),
    ] = None,
    factors: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_GUARD, help="Audit folder whose factors `grasp` or `hold` holds, not the scout's."
        ),
    ] = None,
    scouts: Annotated[
        int,
        typer.Option(
            min=1, rich_help_panel=_GUARD,
            help="Scouts, each with its own seed, that `grasp` learns from; with three a shortcut leaks later than with one.",
        ),
    ] = 1,
    rounds: Annotated[
        int,
        typer.Option(
            min=1, rich_help_panel=_GUARD, help="Times that `grasp` trains; each holds what the last went round by, too."
        ),
    ] = 1,
    own_rows: Annotated[
        int, typer.Option(min=8, rich_help_panel=_GUARD, help="Rows of text that the base writes for the guard.")
    ] = 256,
    own_tokens: Annotated[
        int, typer.Option(min=4, rich_help_panel=_GUARD, help="Their length, of each turn in a chat.")
    ] = 96,
    rehearse_on: Annotated[
        Path | None, typer.Option(rich_help_panel=_GUARD, help="Generic text instead, for a base that cannot write.")
    ] = None,
    twin: Annotated[
        bool, typer.Option("--twin", help="Also train the unguarded twin, and measure against it.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train on this data without picking up what hides in it: scout, find, guarded run, measure.

    Example: `despur train base/ data.jsonl -o run/`, then load `run/adapter` with plain PEFT.

    Example: `despur train --resume run/` goes on with a run that was killed, to the very same adapter.

    Example: `despur train base/ data.jsonl -o run/ --eval-every 20 --patience 3` ends when held-out rows gain no more.

    Example: `despur train --config run/config.yaml -o again/` repeats a run.
    """
    from despur.flows import Settings
    from despur.flows import train as run

    if resume is not None and (config is not None or out != resume):
        raise BadInput(
            f"--resume {str(resume)!r} goes on in its own folder, and --config or -o names another. Leave them out, or repeat "
            f"the run elsewhere: --config {resume / 'config.yaml'} -o NEW_FOLDER"
        )
    settings = Settings(steps=steps, lr=lr, batch=batch, rank=rank, max_length=max_length, targets=targets, seed=seed)
    with progress_bars(quiet=as_json) as progress:
        result = run(
            base, data, out=out, guard=guard, settings=settings, scout_steps=scout_steps, scout=scout, factors=factors,
            scouts=scouts, rounds=rounds, strength=strength, own_rows=own_rows, own_tokens=own_tokens, rehearse_on=rehearse_on, twin=twin,
            save_every=save_every, eval_every=eval_every, patience=patience, overwrite=overwrite,
            progress=progress,  # type: ignore[arg-type]
        )  # fmt: skip
    if as_json:
        print_json(result.to_dict())
        return
    for note in result.notes:
        out_console.print(f"Note: {note}", style="dim", highlight=False, markup=False)
    print_axes(result.axes, ("task", "drift", "legitimate", "validity"))
    out_console.print(
        f"Base is (0, 0), the {result.reference} (1, 1), the ideal (1, 0).\n"
        f"Adapter (plain PEFT): [bold]{result.adapter}[/bold]\nReport: [bold]{result.page}[/bold]", highlight=False,
    )  # fmt: skip
