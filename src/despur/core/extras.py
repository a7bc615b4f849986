"""What may be installed beside despur: the extras of `pyproject.toml`, and the packages that each brings."""

from collections.abc import Mapping
from importlib.util import find_spec

from despur.core.errors import MissingExtra, UnknownName, nearest

EXTRAS: Mapping[str, tuple[str, ...]] = {  # extra -> what is imported of it
    "trl": ("trl", "datasets"),
    "compare": ("pandas", "pyarrow"),
    "table": ("pandas", "pyarrow"),
    "gguf": ("gguf",),
    "ray": ("pandas", "pyarrow", "ray"),
}


def lacking(extra: str) -> tuple[str, ...]:
    """Name the packages of an extra that are not installed; none for "".

    Raises:
        UnknownName: no such extra.

    Example:
        >>> lacking("")
        ()
    """
    if extra and extra not in EXTRAS:
        raise UnknownName(f"no extra {extra!r}{nearest(extra, EXTRAS)}. There are: {', '.join(EXTRAS)}")
    return tuple(package for package in EXTRAS.get(extra, ()) if find_spec(package) is None)


def need(extra: str, what: str) -> None:
    """Go on only where an extra is installed.

    Args:
        extra: Its name; "" for none.
        what: Who needs it, as a subject: "lists are written as parquet: that".

    Raises:
        MissingExtra: a package of it is not installed; the message says how to install it.
    """
    if absent := lacking(extra):
        raise MissingExtra(
            f"{what} needs {' and '.join(absent)}, not installed here. Install: pip install 'despur[{extra}]'"
        )
