"""A folder of named factors that the user keeps, and what a new factor has in common with them."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from despur.core import Subspace, load_factors, new_folder, same_base, save_factors, write_json
from despur.core.errors import BadInput
from despur.core.holm import holm
from despur.flows._library.entries import ENTRY, Entry, library_folder, list_library, place_of
from despur.flows._library.factor_folder import read_factors
from despur.flows.verb import verb
from despur.measure import Overlap, overlap


@dataclass(frozen=True)
class Match:
    """A factor compared with one of an entry.

    Args:
        entry: Name of the entry.
        sites: Where the given factor and the entry's were found.
        overlap: How close they are, and how close random ones come.
        p: p-value of the cosine, adjusted by Holm for all matches of the table.
    """

    entry: str
    sites: tuple[str, str]
    overlap: Overlap
    p: float

    @property
    def same_site(self) -> bool:
        """Whether both were found at one place; all layers share the stream, but a direction may turn between layers."""
        return self.sites[0] == self.sites[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"entry": self.entry, "sites": list(self.sites), "same_site": self.same_site,
                **asdict(self.overlap), "p": self.p, "p_alone": self.overlap.p}  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """Factors compared with a library.

    Args:
        matches: Every comparable pair, the nearest first.
        left_out: Entries that cannot be compared, and why.
    """

    matches: tuple[Match, ...]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": "despur.library.compare/1", "matches": [m.to_dict() for m in self.matches],
                "not_comparable": self.left_out}  # fmt: skip


@verb
def add_to_library(
    name: str,
    factors: Path | str,
    *,
    library: Path | str | None = None,
    note: str = "",
    base: str | None = None,
    force: bool = False,
) -> Entry:
    """Save the factors of a folder under a name.

    Args:
        name: Letters, digits, dots, dashes and underscores, 64 at most.
        factors: A folder with factors: of an audit, a run, or another library; or vectors of layers: a `.gguf` of llama.cpp or
            repeng, a `.pt` of rows.
        library: The library's folder; $DESPUR_LIBRARY, or your data folder, if left out.
        note: What they are, in your words.
        base: The factors' base model, where their folder records none.
        force: Replace an entry of that name.

    Raises:
        BadInput: an invalid or used name, a folder without factors or of mixed widths, or no recorded base.
        ShapeMismatch: the base records another fingerprint.

    Example:
        $ despur library add bad-persona audit/ --note "narrow tune, seed 0"
        $ despur library add happy happy.gguf --base base/
        >>> # add_to_library("bad-persona", "audit/", note="insecure code, rank 32")
    """
    target = place_of(name, library)
    if target.exists() and not force:
        raise BadInput(f"the library has an entry {name!r} already. Choose another name, or replace it with --force")
    with new_folder(target, within=target.parent) as draft:  # taken before the base is loaded
        found = read_factors(factors, base=base)
        if found.base_fingerprint is None:
            raise BadInput(
                f"{str(factors)!r} does not record on which base its factors were found, and factors of two bases cannot be "
                "compared. Name it: --base BASE"
            )
        widths = {f.width for f in found.factors}
        if len(widths) > 1:
            raise BadInput(
                f"{str(factors)!r} contains factors of widths {sorted(widths)}. Add those of one model at a time"
            )
        entry = Entry(
            name, found.base_fingerprint, widths.pop(), tuple(f.rank for f in found.factors),
            tuple(f.site.module for f in found.factors), note, datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        save_factors(found.factors, draft)
        write_json(draft / ENTRY, {"schema": "despur.library/1", **entry.to_dict()})
    return entry


@verb
def compare_with_library(
    factors: Path | str, *, library: Path | str | None = None, base: str | None = None
) -> Compared:
    """Compare factors with every entry of the same base, and with random subspaces; `overlap` explains the figures and their null.

    Args:
        factors: A folder with factors, preferably an audit's; or vectors of layers, as in `library add`.
        library: The library's folder; $DESPUR_LIBRARY, or your data folder, if left out.
        base: The factors' base model, where their folder records none.

    Returns:
        Pairs, the nearest first, and what was not comparable: entries of another base or width, or damaged ones.

    Raises:
        BadInput: no factors in the folder, no recorded base, or an empty library.
        ShapeMismatch: the base records another fingerprint.

    Example:
        $ despur library compare audit/
        >>> # compare_with_library("audit/").matches[0].overlap.cosine
    """
    found = read_factors(factors, base=base)
    if found.base_fingerprint is None:
        raise BadInput(
            f"{str(factors)!r} does not record on which base its factors were found, so nothing can be compared with them. "
            "Name it: --base BASE"
        )
    place = library_folder(library)
    entries, left_out = list_library(library=place)
    if not entries and not left_out:
        raise BadInput(f"the library {str(place)!r} is empty. Add factors: despur library add NAME FOLDER")
    pairs: list[tuple[str, Subspace, Subspace, Overlap]] = []
    for entry in entries:
        width = found.factors[0].width
        if not same_base(entry.base_fingerprint, found.base_fingerprint):
            left_out[entry.name] = (
                f"of another base ({entry.base_fingerprint}, here {found.base_fingerprint}): directions of two models "
                "have nothing in common"
            )
        elif entry.width != width:
            left_out[entry.name] = f"of width {entry.width}, here {width}"
        else:
            try:
                saved = load_factors(place / entry.name)
            except BadInput as error:
                left_out[entry.name] = str(error)
                continue
            pairs += [(entry.name, one, other, overlap(one, other)) for one in found.factors for other in saved]
    adjusted = holm([near.p for *_, near in pairs])
    matches = [
        Match(name, (one.site.module, other.site.module), near, p)
        for (name, one, other, near), p in zip(pairs, adjusted, strict=True)
    ]
    return Compared(tuple(sorted(matches, key=lambda m: (m.overlap.p, -m.overlap.cosine))), left_out)
