"""A folder of factors, whatever wrote it, and the base that they were found on."""

from pathlib import Path
from typing import Any, NamedTuple

from despur.core import Subspace, load_factors, read_json, same_base
from despur.core.errors import BadInput, ShapeMismatch
from despur.flows._library.entries import ENTRY
from despur.flows._library.vectors import factors_of_vectors, is_vectors
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import load_base

_RECORDS = (ENTRY, "audit.json", "clean.json", "run.json", "despur.json")  # where the base may be named, in this order


class Found(NamedTuple):
    """Factors of a folder, and the base that they were found on.

    Args:
        factors: One or more.
        base_fingerprint: None where the folder records none.
    """

    factors: tuple[Subspace, ...]
    base_fingerprint: str | None


def read_factors(folder: Path | str, *, base: str | None = None, model: Any = None) -> Found:
    """Read the factors of a folder, or of another tool's file of vectors, and the fingerprint of their base.

    Args:
        folder: An audit, a run's stage, a library entry: anything that `save_factors` wrote into; or a `.gguf` or `.pt`.
        base: Takes the fingerprint of this base where the folder records none.
        model: The base itself, where it is loaded: a file names no layers.

    Raises:
        BadInput: no factors there; for an audit that confirmed none, its verdict is named.
        ShapeMismatch: the base is not the one recorded.
    """
    if is_vectors(folder):
        if base is None and model is None:
            raise BadInput(
                f"{str(folder)!r} is a file of vectors, which records neither its base nor that base's layers. Name it: --base BASE"
            )
        loaded = load_base(base)[0] if base is not None else model
        return Found(factors_of_vectors(folder, loaded), base_fingerprint(loaded, base) if base is not None else None)
    folder = Path(folder)
    records = [_json(folder / name) for name in _RECORDS]
    if not (folder / "factors.json").exists() and (audit := next((r for r in records if "verdict" in r), None)):
        raise BadInput(
            f"the audit in {str(folder)!r} confirmed no factor ({audit['verdict']}), so there is none to use. "
            "Give an audit that found one, or a folder of factors of your own"
        )
    factors = load_factors(folder)
    if not factors:
        raise BadInput(f"{str(folder)!r} contains no factors. Find some: despur audit BASE ADAPTER -o {folder}")
    recorded = next((r["base_fingerprint"] for r in records if isinstance(r.get("base_fingerprint"), str)), None)
    recorded = recorded or next(
        (f.evidence["base_fingerprint"] for f in factors if "base_fingerprint" in f.evidence), None
    )
    if base is not None:
        given = base_fingerprint(load_base(base)[0], base)
        check_base(recorded, given, folder)
        recorded = given
    return Found(factors, recorded)


def check_base(recorded: str | None, given: str, folder: Path | str) -> None:
    """Refuse factors of another base.

    Raises:
        ShapeMismatch: the two fingerprints differ.
    """
    if recorded is not None and not same_base(recorded, given):
        raise ShapeMismatch(
            f"the factors in {str(folder)!r} were found on the base {recorded!r}, this base has the fingerprint {given!r}. "
            "Find them again on this base"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path) if path.is_file() else {}
    except BadInput:
        return {}
    return value if isinstance(value, dict) else {}
