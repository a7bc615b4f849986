"""Single files: written whole or not at all, appended to line by line, read as JSON."""

import contextlib
import errno
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from despur.core.errors import BadInput

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_STALE = 600  # seconds after which a draft is what a killed run left


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
    with new_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write into; it takes its name, in place of an older one, when the block ends well.

    What is written has another name until then, which nothing had before: neither a link nor another run's file is written
    to. A link of the file's own name is replaced, and what it points to is left as it is.

    Raises:
        BadInput: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        _sweep(path)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(draft, path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _overwrite(path, draft.read_bytes())  # a file that is mounted has no other way in
        sync(path.parent)
    except OSError as error:
        raise BadInput(f"writing {str(path)!r} failed: {reason(error)}. Free some room or choose another -o") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def reserve(path: Path, size: int) -> None:
    """Make a file of so many zero bytes, whose room on the disk is taken now, and not in the middle of a later write.

    Raises:
        OSError: the disk is full.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def draft_of(path: Path) -> Path:
    """Make an empty file beside a place, for a library that writes files by name; `put` gives it its own.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o666))
    return draft


def put(draft: Path, path: Path) -> None:
    """Let a file that was written whole take its name.

    Raises:
        OSError: it cannot.
    """
    sync(draft)
    os.replace(draft, path)
    sync(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file and bring it to the disk; half a line that a killed run left is ended first.

    Raises:
        BadInput: the file cannot be written, or is a link: what that points to is not changed.
    """
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_FOLLOW | _BINARY, 0o666)
        with open(number, "r+b") as file:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise BadInput(f"{str(path)!r} is no file of its own, so nothing is added to it. Remove it")
            file.seek(max(0, status.st_size - 1))
            whole = file.read(1) in (b"", b"\n")
            file.write(b"" if whole else b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(number)
    except OSError as error:
        what = "it is a link" if error.errno == errno.ELOOP else reason(error)
        raise BadInput(f"writing {str(path)!r} failed: {what}. Free some room or choose another -o") from error


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
        raise BadInput(f"{str(path)!r} is not readable JSON: {reason(error)}. Write it again") from error


def sync(path: Path) -> None:
    """Bring a folder's names, or a file's content, to the disk; nothing where the system cannot."""
    with contextlib.suppress(OSError):
        number = os.open(path, os.O_RDONLY | _NO_FOLLOW | _BINARY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sync_all(folder: Path) -> None:
    """Bring a folder and everything in it to the disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            if stat.S_ISREG(os.lstat(os.path.join(root, name)).st_mode):
                sync(Path(root, name))
        sync(Path(root))


def reason(error: Exception) -> str:
    """What the system says, in its words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _overwrite(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_TRUNC | _NO_FOLLOW | _BINARY), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sweep(path: Path) -> None:
    """Remove the drafts of this file that killed runs left."""
    head, tail = f".{path.name}.", ".draft"
    with os.scandir(path.parent) as entries:
        left = [e for e in entries if e.name.startswith(head) and e.name.endswith(tail)]
    for entry in left:
        token = entry.name[len(head) : -len(tail)]
        if len(token) == 8 and not set(token) - set("0123456789abcdef") and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE:
                    os.unlink(entry.path)
