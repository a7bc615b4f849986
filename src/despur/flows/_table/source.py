"""What kind of folder was given, and its rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows._table.audit_rows import audit_rows
from despur.flows._table.columns import batches_of
from despur.flows._table.study import StudyFolder
from despur.flows._table.train_rows import train_rows
from despur.flows.progress import Progress

READ = "what `despur audit`, `despur train` or `despur compare` wrote"


class Source:
    """One folder: its kind, what its runs are called, its rows.

    Args:
        folder: The folder.
        name: What its runs' names begin with.

    Raises:
        BadInput: no folder, one that despur did not write, one that is not finished, or a damaged one.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.kind = kind_of(folder)
        self.study = StudyFolder(folder, name) if self.kind == "compare" else None

    @property
    def notes(self) -> list[str]:
        """What is not in it, one sentence each."""
        return self.study.notes if self.study else []

    def about(self) -> dict[str, Any]:
        """What every row of an audit, or of a training run's guarded adapter, has in common."""
        rows = audit_rows(self.folder, self.name) if self.kind == "audit" else train_rows(self.folder, self.name)
        run = self.name if self.kind == "audit" else f"{self.name}/adapter"
        first = next((row for row in rows if row["run"] == run), {"run": run})
        return {key: first.get(key) for key in ("run", "base", "seed", "guard", "setting", "step")}

    def batches(self, progress: Progress) -> Iterator[Any]:
        """Record batches, a bounded number of rows each, always in the same order.

        Raises:
            BadInput: a file is damaged.
        """
        try:
            yield from self._batches(progress)
        except (TypeError, pa.ArrowException) as error:  # text where a number belongs, a number too large
            raise BadInput(
                f"{str(self.folder)!r} has a figure that is none ({error}): it is damaged. Let the command that made it write it again"
            ) from error

    def _batches(self, progress: Progress) -> Iterator[Any]:
        if self.study:
            yield from self.study.batches(progress)
        else:
            rows = audit_rows if self.kind == "audit" else train_rows
            progress(self.name, 0, 1, {})
            yield from batches_of(rows(self.folder, self.name))
            progress(self.name, 1, 1, {})


def kind_of(folder: Path) -> str:
    """The verb that wrote a folder: `audit`, `train` or `compare`.

    Raises:
        BadInput: see `Source`.
    """
    if folder.is_file():
        raise BadInput(f"{str(folder)!r} is a file, where a folder is needed: {READ}. Give the folder that it is in")
    if not folder.is_dir():
        raise BadInput(f"no folder {str(folder)!r}. Give one: {READ}")
    if (folder / "audit.json").exists():
        return "audit"
    if (folder / "prereg.yaml").exists() or (folder / "results.parquet").exists():
        return "compare"
    record: Any = read_json(folder / "run.json") if (folder / "run.json").exists() else {}
    verb = record.get("verb") if isinstance(record, dict) else None
    if verb == "train" and "axes" in record:
        return "train"
    if (folder / "config.yaml").exists() and verb is None:
        raise BadInput(f"the run in {str(folder)!r} is not finished. Go on with it: despur train --resume {folder}")
    wrote = (
        f"`despur {verb}` wrote {str(folder)!r}, which has" if verb else f"despur did not write {str(folder)!r}: it has"
    )
    raise BadInput(f"{wrote} no traces that a table is made of. Give a folder: {READ}")


def short_names(folders: list[Path]) -> list[str]:
    """Short names of folders: the last part of each path, and as many before it as tell them apart.

    Raises:
        BadInput: one is given twice.

    Example:
        >>> short_names([Path("/x/a/audit"), Path("/x/b/audit")])
        ['a/audit', 'b/audit']
    """
    paths = [folder.resolve().parts for folder in folders]
    if twice := [str(f) for f, p in zip(folders, paths, strict=True) if paths.count(p) > 1]:
        raise BadInput(f"{twice[0]!r} is given twice. Give each folder once")
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = ["/".join(part for part in parts[-length:] if part != "/") for parts in paths]
        if len(set(names)) == len(names):
            return names
    return []
