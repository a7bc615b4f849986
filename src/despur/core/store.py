"""Folders on disk: written beside their place and renamed into it, so what is there is whole."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from despur.core.errors import BadInput
from despur.core.types import Site, Subspace

try:
    import fcntl
except ImportError:  # Windows has none: two runs that write one folder at a time are not distinguished there
    fcntl = None

DONE = "despur.json"  # in every folder that despur writes
_SPEC = "spec_digest"
_PARTS = ("read", "write", "center")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty folder to write into; it takes its name only when the block ends well.

    After an exception, Ctrl-C or a full disk nothing of it is left, and what a killed run left is cleared
    away by the next one. An older folder of that name is replaced in the last moment, if despur wrote it
    (it holds `despur.json`, which every new folder gets) or it is empty.

    Args:
        path: Path of the folder; its parents are made.

    Raises:
        BadInput: the place is taken by something else or by another run, or cannot be written (disk full).

    Example:
        >>> with new_folder(tmp_path / "out") as draft:
        ...     _ = (draft / "note.txt").write_text("whole or not at all")
        >>> sorted(file.name for file in (tmp_path / "out").iterdir())
        ['despur.json', 'note.txt']
    """
    path = Path(path).absolute()
    draft, old = (path.with_name(f".{path.name}.{kind}") for kind in ("draft", "old"))
    lock = _take(path, draft, old)
    try:
        yield draft
        if not (draft / DONE).exists():
            write_json(draft / DONE, {})
        if path.exists():
            os.replace(path, old)
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        if not _in_writing(error, draft):
            raise
        raise BadInput(
            f"writing {str(path)!r} failed: {_reason(error)}. Nothing of it was left behind; free some room or "
            "choose another -o"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _settle(path, old)
        if lock is not None:
            os.close(lock)


def _take(path: Path, draft: Path, old: Path) -> int | None:
    """Make `draft`, locked while this process lives: an unlocked one is what a killed run left."""
    lock = None
    try:
        if path.exists() and not (path.is_dir() and ((path / DONE).exists() or not any(path.iterdir()))):
            raise BadInput(
                f"{str(path)!r} is there and despur did not write it, so it is not replaced. Choose another -o"
            )
        draft.mkdir(parents=True, exist_ok=True)
        if fcntl is not None:
            lock = os.open(draft, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not draft.exists() or not os.path.samestat(os.fstat(lock), draft.stat()):
                raise BlockingIOError  # it was another run's, and this moment became its result
        for left in draft.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        _settle(path, old)
        return lock
    except OSError as error:
        if lock is not None:
            os.close(lock)
        if isinstance(error, BlockingIOError):
            raise BadInput(f"another run is writing {str(path)!r}. Wait for it or choose another -o") from error
        raise BadInput(f"cannot write {str(path)!r}: {_reason(error)}. Choose another -o") from error


def _settle(path: Path, old: Path) -> None:
    """Drop the old version once the new one stands; put it back where the new one never came."""
    if old.exists() and not path.exists():
        os.replace(old, path)
    shutil.rmtree(old, ignore_errors=True)


def _in_writing(error: OSError | SafetensorError, draft: Path) -> bool:
    """Whether an error is the writing's own, and not that of something which the block read or fetched."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM or str(error.filename).startswith(str(draft))
    return "while serializing" in str(error)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def digest(value: Any) -> str:
    """Short hash of any JSON value, the same on every machine.

    Example:
        >>> digest({"rank": 8, "seed": 0}) == digest({"seed": 0, "rank": 8})
        True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN is refused, since no other reader takes it.

    Raises:
        BadInput: the file cannot be written.
        ValueError: `value` contains NaN or Inf.
    """
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        BadInput: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError as error:
        raise BadInput(
            f"writing {str(path)!r} failed: {_reason(error)}. Free some room or choose another -o"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        BadInput: missing, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"no file {str(path)!r}. Write the folder again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{str(path)!r} is not readable JSON: {_reason(error)}. Write it again") from error


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
            BadInput: the folder cannot be written.
        """
        folder = self.root / name
        if not self.has(name, spec):
            with new_folder(folder) as draft:
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


def save_factors(factors: tuple[Subspace, ...], folder: Path) -> None:
    """Write factors as `factors.safetensors` and `factors.json` into a folder.

    Raises:
        BadInput: the JSON cannot be written.
        ValueError: evidence that is not JSON.
    """
    tensors = {f"{i}.{part}": getattr(f, part) for i, f in enumerate(factors) for part in _PARTS}
    save_file({name: t.clone().contiguous() for name, t in tensors.items()}, folder / "factors.safetensors")
    meta = [{**asdict(f.site), "rank": f.rank, "width": f.width, "evidence": dict(f.evidence)} for f in factors]
    write_json(folder / "factors.json", meta)


def load_factors(folder: Path | str) -> tuple[Subspace, ...]:
    """Read factors back.

    Raises:
        BadInput: missing or damaged files, values that are not finite, or two files that do not belong together.
    """
    about, path = Path(folder) / "factors.json", Path(folder) / "factors.safetensors"
    meta = read_json(about)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {_reason(error)}. Find the factors again") from error
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise BadInput(f"{str(path)!r} contains NaN or Inf. Find the factors again")
    factors: list[Subspace] = []
    try:
        for i, m in enumerate(meta):
            parts = [tensors.pop(f"{i}.{part}") for part in _PARTS]
            shapes = [tuple(t.shape) for t in parts]
            if shapes != [(m["rank"], m["width"])] * 2 + [(m["width"],)]:
                raise ValueError(f"factor {i} has the shapes {shapes}")
            site = Site(m["module"], m["side"])  # older files also have "tokens", which is not used
            factors.append(Subspace(*parts, site=site, evidence=dict(m["evidence"])))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{str(about)!r} does not fit {path.name!r}: {error}. Find the factors again") from error
    if tensors:
        raise BadInput(
            f"{str(about)!r} describes {len(factors)} factors, {path.name!r} contains more. Find the factors again"
        )
    return tuple(factors)
