"""run.json: what was run, with what, so that it can be run again."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_LIBRARIES = ("despur", "torch", "transformers", "peft", "numpy", "scikit-learn")


def run_record(verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Verb, arguments and versions; `despur run run.json` replays it."""
    return {"verb": verb, "arguments": dict(arguments), "versions": {n: _version(n) for n in _LIBRARIES},
            "python": platform.python_version()}  # fmt: skip


def page_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """The same for the foot of a page: one readable line per fact."""
    return {
        key: ", ".join(f"{k} {v}" for k, v in value.items() if v is not None)
        if isinstance(value, Mapping)
        else str(value)
        for key, value in record.items()
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
