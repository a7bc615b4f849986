"""A run's folder of stages."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from despur.core.disk.files import read_json, write_json
from despur.core.disk.new_folder import DONE, new_folder
from despur.core.errors import BadInput

_SPEC = "spec_digest"


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
                write_json(draft / DONE, {**record, **spec, _SPEC: digest(dict(spec))})
        return folder

    def has(self, name: str, spec: Mapping[str, Any]) -> bool:
        """Whether the stage is there, whole, with this spec; one whose record is damaged counts as not there."""
        try:
            record = read_json(self.root / name / DONE)
        except BadInput:
            return False
        return isinstance(record, dict) and record.get(_SPEC) == digest(dict(spec))
