"""A run's folder of stages."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from despur.core.disk.files import read_json, write_json
from despur.core.disk.new_folder import DONE, new_folder
from despur.core.errors import BadInput

_SPEC, _FILES = "spec_digest", "files"


def digest(value: Any) -> str:
    """Short hash of any JSON value, the same on every machine.

    Example:
        >>> digest({"rank": 8, "seed": 0}) == digest({"seed": 0, "rank": 8})
        True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Store:
    """A run's folder of finished stages: each made once, found again after a crash.

    Args:
        root: The folder.

    Example:
        >>> store = Store(tmp_path)
        >>> store.step("one", {"n": 1}, lambda out: (out / "x").write_text("made")).name
        'one'
        >>> store.step("one", {"n": 1}, lambda out: 1 / 0).name  # found, not made again
        'one'
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def step(self, name: str, spec: Mapping[str, Any], make: Callable[[Path], Any]) -> Path:
        """Return the folder of a stage, making it unless one of the same spec is there.

        Args:
            name: Folder of the stage, under the root.
            spec: All that the stage depends on, as JSON; joins in `despur.json` what `make` put there.
            make: Writes the stage's files into the folder that it is given.

        Raises:
            BadInput: the folder cannot be written, or leads out of the root, through a link.
        """
        folder = self.root / name
        if not self.has(name, spec):
            with new_folder(folder, within=self.root) as draft:
                make(draft)
                record = read_json(draft / DONE) if (draft / DONE).exists() else {}
                write_json(draft / DONE, {**record, **spec, _SPEC: digest(dict(spec)), **_files(draft)})
        return folder

    def has(self, name: str, spec: Mapping[str, Any]) -> bool:
        """Whether the stage is there, whole, with this spec; one whose record or content is damaged counts as not there."""
        folder = self.root / name
        try:
            record = read_json(folder / DONE)
        except BadInput:
            return False
        if not isinstance(record, dict) or record.get(_SPEC) != digest(dict(spec)):
            return False
        return is_whole(folder, record)


def is_whole(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether a stage's files are what its record says; earlier versions recorded none."""
    files: Any = record.get(_FILES, {})
    return isinstance(files, dict) and all(_sha(folder / str(f)) == sha for f, sha in files.items())


def _files(folder: Path) -> dict[str, dict[str, str]]:
    """Digests of the tensors and JSON of a stage; its page and card may be written again later."""
    found = (p for p in sorted(folder.rglob("*")) if p.suffix in (".safetensors", ".json") and p.name != DONE)
    digests = {p.relative_to(folder).as_posix(): _sha(p) for p in found if p.is_file()}
    return {_FILES: digests} if digests else {}


def _sha(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except (OSError, ValueError):
        return "missing"
