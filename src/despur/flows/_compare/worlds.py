"""Worlds by name: the planted ones, and a user's own work, described by a file in the study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from despur.core import read_json, write_json
from despur.core.errors import BadInput
from despur.flows._compare.kept import keep, place
from despur.flows._compare.own import OwnWork
from despur.flows._train.fit import Settings
from despur.flows.record import at_home, private
from despur.worlds import find_world

OWN, FILE = "own", "own.json"


def open_world(name: str, root: Path) -> Any:
    """A planted world, or the user's own work that this study is about.

    Raises:
        UnknownName: no such world.
        BadInput: the user's files cannot be used.
    """
    return OwnWork(**own_of(root)) if name == OWN else find_world(name)


def describe_own(root: Path, **where: str) -> None:
    """Write down where a user's base, data and probes lie, for the workers; what is in memory is put beside it."""
    write_json(root / FILE, private(where))
    for given in where.values():
        keep(given, root)


def is_own(root: Path, where: Mapping[str, str]) -> bool:
    """Whether a study is about just this work."""
    return (root / FILE).exists() and own_of(root) == {part: place(given, root) for part, given in where.items()}


def own_of(root: Path) -> dict[str, str]:
    """Where the base, data and probes of a study lie.

    Raises:
        BadInput: the file does not say so.
    """
    where: Any = at_home(read_json(root / FILE))
    if (
        not isinstance(where, dict)
        or set(where) != {"base", "data", "probes"}
        or not all(map(_is_text, where.values()))
    ):
        raise BadInput(
            f"{str(root / FILE)!r} does not say where base, data and probes are. Register the study with another -o"
        )
    return {part: place(given, root) for part, given in where.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def settings_of(training: Mapping[str, Any]) -> Settings:
    """How runs are trained, from a world's training options; rows and own text are no settings."""
    return Settings(**{k: v for k, v in training.items() if k not in ("rows", "own_rows", "own_tokens")})
