"""The catalogue: every method is a decorated factory whose signature is its option list."""

import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from despur.core.errors import SiteNotFound, nearest

F = TypeVar("F", bound=Callable[..., Any])
ROOMS = ("find", "guard", "measure", "merge")


@dataclass(frozen=True)
class Method:
    """One entry of the catalogue.

    Args:
        name: What the user types.
        room: Where it lives.
        paper: Whose idea it is.
        factory: The function or class itself.
        needs: What it must be given beside the base and the tuning rows: `nothing`, `generic text`,
            `paired prompts`, `the trait's name`.
    """

    name: str
    room: str
    paper: str
    factory: Callable[..., Any]
    needs: str = "nothing"

    @property
    def summary(self) -> str:
        """First line of its docstring."""
        return (inspect.getdoc(self.factory) or "").split("\n", 1)[0]


_CATALOGUE: dict[str, Method] = {}


def method(*, room: str, paper: str, needs: str = "nothing") -> Callable[[F], F]:
    """Put a factory into the catalogue, unchanged.

    Args:
        room: The package it belongs to.
        paper: Source, as it is shown by `despur ls`.
        needs: What it must be given beside the base and the tuning rows.
    """

    def enter(factory: F) -> F:
        _CATALOGUE[factory.__name__] = Method(factory.__name__, room, paper, factory, needs)
        return factory

    return enter


@functools.cache
def _load_rooms() -> None:
    for room in ROOMS:
        loaded = importlib.import_module(f"despur.{room}")
        for late in getattr(loaded, "METHODS", ()):  # a room that imports its parts when they are asked for
            importlib.import_module(f"despur.{room}.{late}")


def methods() -> dict[str, Method]:
    """Every method by name, sorted by room and name.

    Example:
        >>> methods()["grasp"].room
        'guard'
    """
    _load_rooms()
    return dict(sorted(_CATALOGUE.items(), key=lambda item: (item[1].room, item[0])))


def find_method(name: str) -> Method:
    """One method.

    Raises:
        SiteNotFound: unknown; the message names the nearest.
    """
    known = methods()
    if name not in known:
        raise SiteNotFound(f"no method {name!r}{nearest(name, known)}. List them: despur ls")
    return known[name]
