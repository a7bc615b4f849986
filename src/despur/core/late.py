"""Packages whose parts are imported when they are asked for."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def imported_late(package: str, parts: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make a package's `__getattr__`, so that asking for one name does not load the others.

    Args:
        package: Its dotted name.
        parts: Module of the package -> the names that it gives.

    Example:
        >>> imported_late("despur.core", {"store": ["digest"]})("digest").__name__
        'digest'
    """

    def get(name: str) -> Any:
        for module, names in parts.items():
            if name in names:
                return getattr(import_module(f"{package}.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get


def moved(
    package: str, homes: Mapping[str, str], otherwise: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """Make a package's `__getattr__` that still gives what has moved to another one, with a warning that names it.

    Args:
        package: Its dotted name.
        homes: Name -> dotted name of the package that has it now.
        otherwise: Asked for all other names.

    Example:
        >>> moved("despur.find", {"holm": "despur.core.holm"}, None)  # doctest: +ELLIPSIS
        <function ...>
    """

    def get(name: str) -> Any:
        if name in homes:
            warnings.warn(f"{package}.{name} is in {homes[name]} now", DeprecationWarning, stacklevel=2)
            return getattr(import_module(homes[name]), name)
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
