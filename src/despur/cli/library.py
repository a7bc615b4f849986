"""What `despur library` prints."""

from typing import Any

from despur.cli.terminal import out_console, say
from despur.cli.view import View, table
from despur.flows import library_folder


def show_added(entry: Any, given: Any) -> None:
    """Where the entry is."""
    count = len(entry.ranks)
    say(f"Saved {count} factor{'s' * (count != 1)} in {library_folder(given['library']) / entry.name}")


def show_compared(result: Any, given: Any) -> None:
    """The nearest pairs, and what was not comparable."""
    made = table("entry", "cosine", "random, 95 %", "mean cos²", "random, 95 %", "p (Holm)", "found at")
    for match in result.matches:
        near, (here, there) = match.overlap, match.sites
        made.add_row(
            match.entry, f"{near.cosine:.2f}", f"{near.cosine_random:.2f}", f"{near.energy:.2f}", f"{near.energy_random:.2f}",
            f"{match.p:.1g}", here if match.same_site else f"{here}, entry: {there}",
        )  # fmt: skip
    if result.matches:
        out_console.print(made)
        text = (
            "Cosine: of the smallest angle. The random subspaces are isotropic, activations are not: two unrelated changes "
            "that stay in the stream's few large directions pass this null. A small p is a reason to look, not a proof."
        )
        if not all(m.same_site for m in result.matches):
            text += " Where two sites are given, the layers differ: the stream is shared, but a direction may turn between layers."
        out_console.print(text, style="dim")
    for name, reason in result.left_out.items():
        say(f"Not comparable: {name}: {reason}")


def show_exported(result: Any, given: Any) -> None:
    """The file, and the sites that it has nothing for."""
    for site, why in result.left_out.items():
        say(f"Left out: {site}, which {why}", "dim")
    say(f"Wrote {len(result.layers)} layers to {result.file}")


def show_list(result: Any, given: Any) -> None:
    """The entries, and what is damaged."""
    entries, broken = result
    if not entries and not broken:
        say(f"{library_folder(given['library'])} is empty")
        return
    made = table("name", "ranks", "width", "base", "sites", "added", "note", left=7)
    for e in entries:
        sites = e.sites[0] if len(e.sites) == 1 else f"{e.sites[0]} and {len(e.sites) - 1} more"
        cells = (
            e.name,
            " ".join(map(str, e.ranks)),
            str(e.width),
            e.base_fingerprint.partition(".")[0],
            sites,
            e.added[:10],
            e.note,
        )
        made.add_row(*cells)
    out_console.print(made)
    for name, reason in broken.items():
        say(f"Damaged: {name}: {reason}")


VIEWS = {
    "library add": View(show_added),
    "library compare": View(show_compared),
    "library export": View(show_exported),
    "library ls": View(
        show_list,
        plain=lambda result, given: {
            "library": str(library_folder(given["library"])), "entries": [e.to_dict() for e in result[0]], "damaged": result[1],
        },
    ),
    "library remove": View(lambda result, given: say(f"Removed {given['name']}"), plain=lambda result, given: {"removed": given["name"]}),
}  # fmt: skip
