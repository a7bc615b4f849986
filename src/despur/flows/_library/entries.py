"""The entries of the library: where it is, what is in it, and how one leaves; nothing heavy is imported for that."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput, DespurError, UnknownName, nearest
from despur.flows.verb import verb

ENTRY = "entry.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Entry:
    """One named folder of the library.

    Args:
        name: Its name.
        base_fingerprint: Fingerprint of the base on which the factors were found.
        width: Width of their stream.
        ranks: Directions of each factor.
        sites: Module of each factor.
        note: The user's own words.
        added: Date and time, UTC.
    """

    name: str
    base_fingerprint: str
    width: int
    ranks: tuple[int, ...]
    sites: tuple[str, ...]
    note: str
    added: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def library_folder(folder: Path | str | None = None) -> Path:
    """Say where the library is: as given, $DESPUR_LIBRARY, or the platform's place for a user's data.

    Example:
        >>> library_folder("factors").name
        'factors'
    """
    if folder is not None or os.environ.get("DESPUR_LIBRARY"):
        return Path(folder or os.environ["DESPUR_LIBRARY"]).expanduser()
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Application Support"
    else:
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "despur" / "library"


@verb
def list_library(*, library: Path | str | None = None) -> tuple[tuple[Entry, ...], dict[str, str]]:
    """List the entries by name, and the folders that cannot be read, with the reason.

    Args:
        library: The library's folder; $DESPUR_LIBRARY, or your data folder, if left out.

    Example:
        $ despur library ls
        >>> list_library(library=tmp_path)
        ((), {})
    """
    entries: list[Entry] = []
    broken: dict[str, str] = {}
    for folder in _entries(library_folder(library)):
        try:
            entries.append(_read_entry(folder))
        except DespurError as error:
            broken[folder.name] = str(error)
    return tuple(entries), broken


@verb
def remove_from_library(name: str, *, library: Path | str | None = None) -> None:
    """Delete an entry.

    Args:
        name: As `despur library ls` prints it.
        library: The library's folder; $DESPUR_LIBRARY, or your data folder, if left out.

    Raises:
        UnknownName: no such entry.
        BadInput: it cannot be removed.

    Example:
        $ despur library remove bad-persona
    """
    target = place_of(name, library)
    if not (target / ENTRY).is_file():
        known = [f.name for f in _entries(target.parent)]
        raise UnknownName(
            f"no entry {name!r} in {str(target.parent)!r}{nearest(name, known)}. List them: despur library ls"
        )
    try:
        if target.is_symlink():
            target.unlink()
            return
        gone = target.with_name(f".{name}.removed")
        shutil.rmtree(gone, ignore_errors=True)
        target.rename(gone)  # at once: a kill leaves no half of an entry
        shutil.rmtree(gone)
    except OSError as error:
        raise BadInput(f"cannot remove {str(target)!r}: {error.strerror or error}. Is it yours?") from error


def place_of(name: str, library: Path | str | None) -> Path:
    """The folder of an entry.

    Raises:
        BadInput: a name that is none.
    """
    if not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
        raise BadInput(
            f"{name!r} is not a valid name: 1 to 64 letters, digits, '.', '-' and '_', the first a letter or digit, "
            "no '..'. Choose another"
        )
    return library_folder(library) / name


def _entries(place: Path) -> Iterator[Path]:
    if place.exists() and not place.is_dir():
        raise BadInput(f"{str(place)!r} is no folder. Name the library's folder: --library DIR")
    if place.is_dir():
        yield from sorted(f for f in place.iterdir() if not f.name.startswith(".") and (f / ENTRY).exists())


def _read_entry(folder: Path) -> Entry:
    record = read_json(folder / ENTRY)
    try:
        return Entry(
            folder.name, str(record["base_fingerprint"]), int(record["width"]), tuple(map(int, record["ranks"])),
            tuple(map(str, record["sites"])), str(record["note"]), str(record["added"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{str(folder / ENTRY)!r} is no entry of a library ({type(error).__name__}: {error}). Add the factors again"
        ) from error
