"""`despur verify`: does an adapter's certificate hold?"""

from typing import Annotated

import typer

from despur.cli.app import Base, Json, app, out_console, print_json

BROKEN = 3  # exit status
TONES = {"holds": "green", "broken": "red", "nothing to verify in the weights": "yellow"}


@app.command()
def verify(
    base: Base,
    adapter: Annotated[str, typer.Argument(help="Adapter folder with guard.json, as `despur train` writes it.")],
    as_json: Json = False,
) -> None:
    """Does an adapter still keep what its guard promised? Recomputed from the weights alone.

    **Verdicts**: *holds*; *broken* (another base, other factors, configuration or weights than those certified, or a module
    that leaks); *nothing to verify in the weights* (a guard that acts on what the model says: only identity is checked).

    **Exit status**: 0, or 3 where it is broken, or 2 where something cannot be read or there is no certificate.

    Example: `despur verify base/ run/adapter`
    """
    from despur.core.errors import DespurError
    from despur.flows import verify as run

    try:
        result = run(base, adapter)
    except DespurError as error:
        if as_json:
            print_json({"verdict": "unreadable", "sentence": str(error)})
        raise
    if as_json:
        print_json(result.to_dict())
    else:
        out_console.print(f"[bold {TONES[result.verdict]}]{result.verdict}[/]: ", end="")
        out_console.print(result.sentence, highlight=False, markup=False, soft_wrap=True)
    if result.verdict == "broken":
        raise typer.Exit(BROKEN)
