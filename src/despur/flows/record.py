"""run.json: what was run, with what, so that it can be run again; nothing of who ran it, or on which machine."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("despur", "torch", "transformers", "peft", "numpy", "scikit-learn")


def run_record(verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Verb, arguments and versions; `despur run run.json` replays it."""
    return {"verb": verb, "arguments": private(dict(arguments)), "versions": {n: _version(n) for n in _LIBRARIES},
            "python": platform.python_version()}  # fmt: skip


def private(value: Any) -> Any:
    """Values of JSON with the user's home written as `~`, since its name is often theirs.

    Example:
        >>> private({"base": str(Path.home() / "models" / "base"), "rows": 8})["rows"]
        8
    """
    if isinstance(value, Mapping):
        return {k: private(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [private(v) for v in value]
    home = _home()
    return value.replace(home + os.sep, f"~{os.sep}") if isinstance(value, str) and home else value


def at_home(value: Any) -> Any:
    """The same with `~` at the start of a path read as the home of who reads it."""
    if isinstance(value, Mapping):
        return {k: at_home(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [at_home(v) for v in value]
    home = _home()
    return home + value[1:] if isinstance(value, str) and home and value.startswith(f"~{os.sep}") else value


def page_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """The same for the foot of a page: one readable line per fact."""
    return {
        key: ", ".join(f"{k} {v}" for k, v in value.items() if v is not None)
        if isinstance(value, Mapping)
        else str(value)
        for key, value in record.items()
    }


def _home() -> str:
    try:
        home = str(Path.home())
    except RuntimeError:  # nobody's
        return ""
    return "" if home == os.sep else home


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
