"""A configuration that another program wrote: read with limits, and quoted in bounded length."""

import stat
from pathlib import Path
from typing import Any

from despur.core.errors import BadInput
from despur.core.store import read_json

_LARGEST = 10 * 2**20  # bytes: the largest honest configuration has some kilobytes
_DEEPEST = 64


def read_config(path: Path, *, largest: int = _LARGEST) -> dict[str, Any]:
    """Read a configuration: a regular file of bounded size and depth that contains a JSON object.

    Raises:
        BadInput: missing, not a regular file, too large, too deep, or not a JSON object.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {reason(error)}. Copy or save the folder again") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{str(path)!r} is not a regular file. Copy or save the folder again")
    if status.st_size > largest:
        raise BadInput(
            f"{str(path)!r} has {status.st_size} bytes, where a configuration has at most {largest}. Save it again"
        )
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadInput(f"{str(path)!r} contains {short_repr(value)}, where a JSON object is needed. Save it again")
    if _deep(value):
        raise BadInput(f"{str(path)!r} is nested more than {_DEEPEST} deep. Save it again")
    return value


def short_repr(value: Any) -> str:
    """The repr of a value for a message, cut at 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def reason(error: Exception) -> str:
    """The message of another library, as one printable line of bounded length: it may quote the file."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text).rstrip(".")


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            part for v in level if isinstance(v, dict | list) for part in (v.values() if isinstance(v, dict) else v)
        ]
    return bool(level)
