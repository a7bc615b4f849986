"""The fingerprint of a base on disk: read off the weights once, and kept in the user's cache beside what its files were then."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from despur.core.disk.files import read_json, write_json
from despur.core.disk.user_cache import cache_folder
from despur.core.errors import DespurError
from despur.core.model.fingerprint import fingerprint, remember_fingerprint
from despur.flows.base_place import base_place
from despur.flows.stand_in import StandIn

LARGE = 256 * 2**20  # bytes of weights: below that they are read faster than a cache is worth


def base_fingerprint(model: Any, name: str) -> str:
    """Fingerprint of a base that was just loaded, and that nothing has changed since.

    Args:
        model: The base.
        name: Folder, GGUF file, hub id or name that it was loaded from.
    """
    files = [] if isinstance(name, StandIn) else _files(name)  # of a model in memory no file says what it is
    place = _place(files) if files else None
    value = _read(place, files) if place is not None else None
    if value is None:
        value = fingerprint(model)
        if place is not None:
            _write(place, {"files": files, "fingerprint": value})
    remember_fingerprint(model, value)
    return value


def _files(name: str) -> list[list[Any]]:
    """Each file of a base with what changes when it is written; empty for a small one, or one that is not found."""
    try:
        place = base_place(name)
        if place is None:
            from transformers.utils.hub import cached_file

            place = Path(str(cached_file(name, "config.json", local_files_only=True))).parent
        weights = (place.suffix,) if place.is_file() else (".safetensors",)
        files = [place] if place.is_file() else sorted(place.iterdir())
        found = [(p, p.stat()) for p in files if p.suffix in (*weights, ".json") and p.is_file()]
    except (OSError, ValueError):  # the hub's own errors are of these
        return []
    if sum(s.st_size for p, s in found if p.suffix in weights) < LARGE:
        return []
    # the time of a change of the inode cannot be set back, as that of the content can
    return [[str(p.resolve()), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev] for p, s in found]


def _place(files: list[list[Any]]) -> Path:
    names = json.dumps([[f[0] for f in files], version("transformers")])  # whose versions name tensors differently
    return cache_folder() / "fingerprints" / f"{hashlib.sha256(names.encode()).hexdigest()[:24]}.json"


def _read(place: Path, files: list[list[Any]]) -> str | None:
    try:
        known: Any = read_json(place)
    except DespurError:
        return None
    value = known.get("fingerprint") if isinstance(known, dict) and known.get("files") == files else None
    return value if isinstance(value, str) and len(value) == 49 else None


def _write(place: Path, known: dict[str, Any]) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(place, known)
    except (OSError, DespurError):  # it is only slower without
        return
