"""What a training run is given: rows, a scout, factors; each checked before anything is trained."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from despur.core import EVERYWHERE, Adapter, Anatomy, Subspace, find_module
from despur.core.errors import BadInput
from despur.core.store import write_bytes
from despur.core.text.row_files import SPLIT, STDIN, data_digest, suffix_of, taken_split
from despur.core.text.rows import read_rows
from despur.flows._clean.weights import placed_factors
from despur.flows._library.factor_folder import check_base, read_factors

CONFIG = "config.yaml"
KEPT_DATA = ("data.jsonl", "data.jsonl.gz", "data.parquet")  # what came on standard input, in the run's folder


class Data(NamedTuple):
    """Training rows, and where they lie.

    Args:
        rows: As `read_rows` gives them.
        path: Where they lie; of standard input, where they will be kept.
        digest: SHA-256 of the file, or of the folder's tables.
        content: What came on standard input, until `keep` has written it.
        notes: What is to be told of it.
    """

    rows: list[dict[str, Any]]
    path: Path
    digest: str
    content: bytes | None
    notes: tuple[str, ...]

    def keep(self) -> None:
        """Write what came on standard input into the run's folder."""
        if self.content is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, self.content)


def read_data(data: Path | str, out: Path) -> Data:
    """Read the rows of a file, of a folder, or of standard input (`-`), which is read once and kept in the run's folder.

    Raises:
        BadInput, MissingExtra: they cannot be read; see `read_rows`.
    """
    if str(data) != STDIN:
        path = Path(data)
        rows = read_rows(path)
        split = path.is_dir() and taken_split(path) != path
        notes = (f"{str(path)!r} has several splits; {SPLIT!r} is what is trained on",) if split else ()
        return Data(rows, path, data_digest(path), None, notes)
    content = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    if not content:
        kept = next((out / name for name in KEPT_DATA if (out / name).is_file()), None)
        if kept is None:
            raise BadInput("data is '-' and nothing came on standard input. Pipe rows into it, or name a file")
        return Data(read_rows(kept), kept, data_digest(kept), None, ())
    return Data(read_rows(content), out / f"data{suffix_of(content)}", data_digest(content), content, ())


def check_choices(
    guard: str,
    *,
    rounds: int,
    scouts: int,
    factors: Path | str | None,
    scout: Path | str | None,
    scout_steps: int | None,
) -> None:
    """Refuse what would have no effect.

    Raises:
        BadInput: options that do not go together.
    """
    if rounds < 1:
        raise BadInput(f"rounds={rounds}; at least 1 is needed")
    if scouts < 1:
        raise BadInput(f"scouts={scouts}; at least 1 is needed")
    if scouts > 1 and (guard != "grasp" or factors is not None or scout is not None):
        given = (
            f"guard {guard!r}" if guard != "grasp" else "a scout that was given" if scout else "factors that were given"
        )
        raise BadInput(
            f"scouts={scouts} with {given}; only grasp on scouts of its own learns from several. Leave --scouts out"
        )
    if rounds > 1 and guard != "grasp":
        raise BadInput(
            f"rounds={rounds} with guard {guard!r}; only grasp finds its directions again. Leave --rounds out"
        )
    if factors is not None and guard not in ("grasp", "hold"):
        raise BadInput(f"factors were given to guard {guard!r}, which takes none. Choose --guard grasp or hold")
    if scout is not None and scout_steps is not None:
        raise BadInput(f"a scout was given ({str(scout)!r}), so none is trained. Leave --scout-steps out")


def given_scout(folder: Path | str, model: Any, base: str) -> tuple[Path, tuple[str, ...]]:
    """Check that a scout can be read and belongs to the base.

    Returns:
        Its folder, and what could not be verified.

    Raises:
        BadInput, ShapeMismatch: see `Adapter.read` and `Adapter.check`.
    """
    return Path(folder), tuple(f"of the scout, {note}" for note in Adapter.read(folder).check(model, base))


def given_factors(
    folder: Path | str, guard: str, model: Any, base_fingerprint: str
) -> tuple[tuple[Subspace, ...], tuple[str, ...]]:
    """Read the factors of an audit, or of any folder that holds some, for `grasp` or `hold`.

    For `grasp`, those of one site act in the whole stream, those of several each at its own; `hold` takes each as it is.

    Returns:
        The factors, and what could not be verified.

    Raises:
        BadInput: there are none, or `hold` is given one without a site.
        ShapeMismatch: of another base, or width.
        SiteNotFound: a site that the base does not have.
    """
    found = read_factors(folder)
    check_base(found.base_fingerprint, base_fingerprint, folder)
    for factor in found.factors:
        if factor.site.module != EVERYWHERE:
            find_module(model, factor.site.module)
        elif guard == "hold":
            raise BadInput(
                f"a factor in {str(folder)!r} has no layer as site, and hold reads coordinates at one. Give an audit's, or "
                "choose --guard grasp"
            )
    placed = placed_factors(found.factors, Anatomy.of(model).width)
    unknown = f"the factors in {str(folder)!r} record no base, so only their width and sites were compared"
    return placed if guard == "grasp" else found.factors, () if found.base_fingerprint else (unknown,)


def write_config(out: Path, arguments: Mapping[str, Any]) -> None:
    """Write a run's arguments so that `despur train --config` repeats it."""
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(arguments), sort_keys=False, allow_unicode=True)
    write_bytes(out / CONFIG, f"# despur train --config {CONFIG} -o NEW_FOLDER\n{text}".encode())
