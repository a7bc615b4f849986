"""`despur library`: factors that the user keeps by name."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from despur.cli.app import Json, app, out_console, print_json

library_app = typer.Typer(
    help="Keep factors by name, and hold new ones against them. Example: `despur library add rude audit/`, then "
    "`despur library compare other-audit/`",
    no_args_is_help=True, rich_markup_mode="markdown",
)  # fmt: skip
app.add_typer(library_app, name="library")

Factors = Annotated[Path, typer.Argument(help="A folder that holds factors: an audit's for choice.")]
Folder = Annotated[
    Path | None, typer.Option("--library", help="The library's folder; $DESPUR_LIBRARY, or your data folder.")
]
NamedBase = Annotated[str | None, typer.Option("--base", help="The factors' base, where their folder records none.")]


@library_app.command()
def add(
    name: Annotated[str, typer.Argument(help="Letters, digits, '.', '-' and '_'.")],
    factors: Factors,
    library: Folder = None,
    note: Annotated[str, typer.Option(help="What they are, in your words.")] = "",
    base: NamedBase = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an entry of that name.")] = False,
    as_json: Json = False,
) -> None:
    """Keep the factors of a folder under a name.

    Example: `despur library add bad-persona audit/ --note "narrow tune, seed 0"`
    """
    from despur.flows import add_to_library, library_folder

    entry = add_to_library(name, factors, library=library, note=note, base=base, force=force)
    if as_json:
        print_json(entry.to_dict())
        return
    where = library_folder(library) / name
    out_console.print(f"Kept {len(entry.ranks)} factors in {where}", highlight=False, markup=False, soft_wrap=True)


@library_app.command()
def compare(factors: Factors, library: Folder = None, base: NamedBase = None, as_json: Json = False) -> None:
    """Hold factors against every entry of the same base.

    Example: `despur library compare audit/`
    """
    from despur.flows import compare_with_library

    result = compare_with_library(factors, library=library, base=base)
    if as_json:
        print_json(result.to_dict())
        return
    table = _table("entry", "cosine", "random, 95 %", "mean cos²", "random, 95 %", "p (Holm)", "found at")
    for match in result.matches:
        near, (here, there) = match.overlap, match.sites
        table.add_row(
            match.entry, f"{near.cosine:.2f}", f"{near.cosine_random:.2f}", f"{near.energy:.2f}", f"{near.energy_random:.2f}",
            f"{match.p:.1g}", here if match.same_site else f"{here}, entry: {there}",
        )  # fmt: skip
    if result.matches:
        out_console.print(table)
        said = (
            "Cosine: of the smallest angle. The random subspaces are isotropic, activations are not: two unrelated changes "
            "that keep to the stream's few large directions pass this null. A small p is a reason to look, no proof."
        )
        if not all(m.same_site for m in result.matches):
            said += (
                " Where two sites stand, the layers differ: the stream is common, but a direction may turn on its way."
            )
        out_console.print(said, highlight=False, markup=False, style="dim")
    for name, reason in result.left_out.items():
        out_console.print(f"Not comparable: {name}: {reason}", highlight=False, markup=False)


@library_app.command()
def ls(library: Folder = None, as_json: Json = False) -> None:
    """List the entries.

    Example: `despur library ls`
    """
    from despur.flows import library_folder, list_library

    entries, broken = list_library(library)
    if as_json:
        print_json(
            {"library": str(library_folder(library)), "entries": [e.to_dict() for e in entries], "damaged": broken}
        )
        return
    if not entries and not broken:
        out_console.print(f"{library_folder(library)} is empty", highlight=False, markup=False, soft_wrap=True)
        return
    table = _table("name", "ranks", "width", "base", "sites", "added", "note")
    for e in entries:
        sites = e.sites[0] if len(e.sites) == 1 else f"{e.sites[0]} and {len(e.sites) - 1} more"
        cells = (e.name, " ".join(map(str, e.ranks)), str(e.width), e.base_fingerprint, sites, e.added[:10], e.note)
        table.add_row(*map(_plain, cells))
    out_console.print(table)
    for name, reason in broken.items():
        out_console.print(f"Damaged: {name}: {reason}", highlight=False, markup=False)


@library_app.command()
def remove(
    name: Annotated[str, typer.Argument(help="As `despur library ls` prints it.")], library: Folder = None
) -> None:
    """Delete an entry.

    Example: `despur library remove bad-persona`
    """
    from despur.flows import remove_from_library

    remove_from_library(name, library=library)
    out_console.print(f"Removed {name}", highlight=False, markup=False)


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name)
    return table


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # a user's note may hold what reads as markup
