"""What can go wrong through the user's input: one class per kind, each also a builtin exception.

Every message has three parts: what came, what is allowed, the next step.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class DespurError(Exception):
    """Any fault in what the user gave; the command line prints it as one line and exits with 2.

    Attributes:
        result: What was found before it could not be written; None where nothing was.
    """

    result: Any = None


class NotFitted(DespurError, ValueError):
    """A finder was asked for its factors before it saw data."""


class SiteNotFound(DespurError, LookupError):
    """A named module, or the role of a module, does not exist in this model."""


class UnknownName(DespurError, LookupError):
    """There is no such guard, method, room, world, arm, side, task, option or library entry."""


class ShapeMismatch(DespurError, ValueError):
    """Two things that must fit each other do not: widths, ranks, adapter and base."""


class BadInput(DespurError, ValueError):
    """A file or folder cannot be used: missing, malformed, not finite, of an unsupported kind."""


class MissingExtra(DespurError, ImportError):
    """An optional library is needed for this."""


class CannotAttach(DespurError, RuntimeError):
    """A guard would not act on this model or trainer, so training must not start."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; nearest: 'a', 'b'" for a misspelt name, or "" when nothing is close."""
    close = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=2, cutoff=0.4)
    return "; nearest: " + ", ".join(repr(c) for c in close) if close else ""


def in_one_line(error: BaseException) -> str:
    """What an error says, in one line; one that is not despur's own says its type, too.

    Example:
        >>> in_one_line(BadInput("no rows. Give some")), in_one_line(ValueError("no luck"))
        ('no rows. Give some', 'ValueError: no luck')
    """
    line = " ".join(str(error).split()) or type(error).__name__
    return line if isinstance(error, DespurError) else f"{type(error).__name__}: {line}"
