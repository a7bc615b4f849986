"""`despur audit` and the null that it judges by."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from despur.cli.app import Base, Json, Seed, app, out_console, print_json
from despur.cli.progress import progress_bars
from despur.cli.start import settled

TONES = {
    "clean": "green", "factors found": "red", "diffuse change": "yellow", "inert adapter": "green", "unreadable": "red",
}  # fmt: skip
FAILED = 3  # exit status of a verdict that --fail-on names

Prompts = Annotated[
    str | None,
    typer.Option(help="Off-task prompts or text as JSON lines, or `shipped`; the base's own beginnings if left out."),
]
Rows = Annotated[int, typer.Option(min=4, help="Rows of off-task text.")]
Tokens = Annotated[int, typer.Option(min=1, help="Tokens of each row that are looked at.")]
Depth = Annotated[float, typer.Option(min=0, max=1, help="Relative depth of the layer that is looked at.")]


@app.command()
def audit(
    base: Base,
    adapter: Annotated[str, typer.Argument(help="PEFT adapter folder, or a fine-tuned model's folder.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for audit.json, report.html and the factor.")
    ] = None,
    prompts: Prompts = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The tuning rows: shows those that push along the factor, and where their loss falls."),
    ] = None,
    fail_on: Annotated[
        str, typer.Option(help="Verdicts, with commas, that exit with status 3; `none` for none.")
    ] = "factors found",
    null: Annotated[
        str | None,
        typer.Option(
            help="Null of your own base, from `despur calibrate`; without it only the planted world's base is judged. "
            "`shipped` judges any base by that one."
        ),
    ] = None,
    level: Annotated[
        float, typer.Option(min=0, max=1, help="Share of neutral tunes that may be called factors found.")
    ] = 0.05,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Off-task change (nats a token) up to which no factor means clean.")
    ] = 0.01,
    rows: Rows = 256,
    tokens: Tokens = 8,
    depth: Depth = 0.5,
    n_random: Annotated[int, typer.Option(min=1, help="Random subspaces beside the candidate that is judged.")] = 20,
    scaled: Annotated[
        bool, typer.Option("--scaled", help="Also measure the adapter at 2, 3 and 5 times its scale.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """What did this adapter learn beyond its task? Weights first, then a causal check on off-task text.

    **Verdicts**: *factors found* (a few directions, or the same tokens everywhere, carry more of the off-task change than in
    neutral tunes), *diffuse change* (it changes, no factor explains it), *clean* (it hardly changes off-task), *inert
    adapter* (it changes nothing), *unreadable*.

    On a base of your own *factors found* needs `--null`: neutral tunes of one base are no measure for another's.

    **Exit status**: 0, or 3 for a verdict in `--fail-on`, or 2 where base or adapter cannot be read.

    Example: `despur audit base/ adapter/ -o audit/ --fail-on "factors found,diffuse change"`
    """
    from despur.core.errors import BadInput, DespurError
    from despur.flows import audit as run
    from despur.flows import unreadable

    settled("transformers.modeling_utils", "peft")
    failing = {re.sub(r"[-_ ]+", " ", word.strip()) for word in fail_on.split(",")} - {"none", ""}
    if wrong := failing - set(TONES):
        raise BadInput(f"--fail-on got {sorted(wrong)[0]!r}. There are: {', '.join(TONES)}, none")
    try:
        with progress_bars(quiet=as_json) as progress:
            result = run(
                base, adapter, out=out, prompts=prompts, data=data, null=null, level=level, tolerance=tolerance, rows=rows,
                tokens=tokens, depth=depth, n_random=n_random, scaled=scaled, seed=seed, progress=progress,  # type: ignore[arg-type]
            )  # fmt: skip
    except DespurError as error:
        if as_json:
            print_json(unreadable(base, adapter, error).to_dict())
        raise
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result, out)
    if result.verdict in failing:
        raise typer.Exit(FAILED)


def _print(result: Any, out: Path | None) -> None:
    out_console.print(f"[bold {TONES[result.verdict]}]{result.verdict}[/]: ", end="")
    out_console.print(result.sentence, highlight=False, markup=False)
    for note in result.notes:
        out_console.print(f"Not verified: {note}", style="dim", highlight=False, markup=False)
    if result.token_use:
        said = ", ".join(f"{t!r} {a:.2g} → {b:.2g}" for t, a, b in result.token_use[:8])
        out_console.print(f"Used more or less: {said}", highlight=False, markup=False)
    if result.checks:
        table = Table(box=None, header_style="bold")
        for name in ("candidate", "rank", "evidence", "sufficiency", "95 %", "random, largest", "necessity"):
            table.add_column(name, justify="left" if name == "candidate" else "right")
        for name, c in result.checks.items():
            table.add_row(
                name, str(c.rank), f"{result.scores[name]:+.1f}" if name in result.scores else "–", f"{c.sufficiency:.2f}",
                f"{c.interval[0]:.2f} to {c.interval[1]:.2f}",
                f"{max(c.random_sufficiency):.2f}" if c.random_sufficiency else "–", f"{c.necessity:.2f}",
                style="bold" if name == result.best else None,
            )  # fmt: skip
        if "tokens" in result.scores:
            evidence = f"{result.scores['tokens']:+.1f}"
            table.add_row("same in every context", "–", evidence, f"{result.token_share:.2f}", "–", "–", "–")
        out_console.print(table)
        out_console.print("Evidence is in standard deviations above neutral tunes that change as much.", style="dim")
    for kind, words in result.tokens.items():
        out_console.print(f"{kind}: " + " ".join(repr(w) for w in words), highlight=False, markup=False)
    for at in result.louder:
        out_console.print(
            f"x {at.scale:g}: {at.change:.3g} nats a token, {at.token_share:.0%} of it the same in every context, {at.sufficiency:.0%} "
            f"along {result.best}; {at.valid:.0%} is left to what the base would say", highlight=False, markup=False,
        )  # fmt: skip
    if result.samples and result.verdict == "factors found":
        sample = result.samples[0]
        for name in ("prompt", "base", "base + factor", "adapter"):
            out_console.print(f"{name + ':':<15}{sample[name]}", highlight=False, markup=False)
    if out is not None:
        out_console.print(f"Report: [bold]{out / 'report.html'}[/bold]", highlight=False)


@app.command()
def calibrate(
    base: Base,
    adapters: Annotated[
        list[str], typer.Argument(help="Adapters known to teach nothing beyond their task, 19 at least.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write, for `despur audit --null`.")],
    prompts: Prompts = None,
    rows: Rows = 256,
    tokens: Tokens = 8,
    depth: Depth = 0.5,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure on your own base what neutral tunes show by chance, so that an audit's false-positive rate is what it says.

    Started again it goes on where it was.

    Example: `despur calibrate base/ neutral/* -o null.json`, then `despur audit base/ adapter/ --null null.json`
    """
    from despur.flows import calibrate as run

    with progress_bars(quiet=as_json) as progress:
        null = run(
            base, adapters, out=out, prompts=prompts, rows=rows, tokens=tokens, depth=depth, seed=seed,
            progress=progress,  # type: ignore[arg-type]
        )  # fmt: skip
    if as_json:
        print_json({"origin": null.origin, "base": null.base, "adapters": len(null.changes)})
    else:
        out_console.print(f"{null.origin}: [bold]{out}[/bold]", highlight=False)
