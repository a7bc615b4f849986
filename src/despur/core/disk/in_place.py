"""Folders that cannot be renamed: a mount point, or the only place that may be written. Their content is exchanged inside.

Three names: `.despur.draft` is being written, `.despur.old` has the former content, `.despur.new` is a whole draft
whose files are moving out. Each state that a kill can leave has one way on: with a `.despur.new` forward, without one back.
"""

import contextlib
import os
import re
import shutil
import stat
from pathlib import Path

from despur.core.disk.files import sync
from despur.core.disk.lock import is_ours

_MARK = "despur.json"
_LEFT = ("lost+found",)  # of the file system itself
_OWN = (".despur.draft", ".despur.old", ".despur.new")


def must_stay(folder: Path) -> bool:
    """Whether a folder cannot be renamed: it is mounted, locked, where this process works, or its parent is read-only."""
    parent, status = folder.parent, folder.stat()
    above = parent.stat()
    if status.st_dev != above.st_dev or os.path.ismount(folder) or str(folder) in _mounts():
        return True
    if is_ours(folder) or not os.access(parent, os.W_OK | os.X_OK) or os.path.samefile(folder, os.curdir):
        return True
    sticky = above.st_mode & stat.S_ISVTX and hasattr(os, "geteuid")
    return bool(sticky) and os.geteuid() not in (0, status.st_uid, above.st_uid)


def visible(folder: Path) -> list[str]:
    """What is in a folder, besides what the file system and an exchange of content put there."""
    return [name for name in os.listdir(folder) if name not in (*_LEFT, *_OWN)]


def move_in(folder: Path, draft: Path, old: Path) -> None:
    """Exchange the content of a folder with that of a whole draft."""
    old.mkdir(exist_ok=True)
    for name in sorted(visible(folder), key=lambda name: name != _MARK):
        os.replace(folder / name, old / name)
    new = folder / ".despur.new"
    os.replace(draft, new)
    sync(folder)
    _finish(folder, new, old)


def put_back(folder: Path, old: Path) -> None:
    """Finish an exchange that a kill or an error interrupted, or undo it."""
    new = folder / ".despur.new"
    if _is_folder(new):
        _finish(folder, new, old)
    elif _is_folder(old):
        for name in os.listdir(old):
            if not os.path.lexists(folder / name):
                os.replace(old / name, folder / name)
        with contextlib.suppress(OSError):
            os.rmdir(old)


def _finish(folder: Path, new: Path, old: Path) -> None:
    for name in sorted(os.listdir(new), key=lambda name: name == _MARK):  # the mark of a whole folder comes last
        os.replace(new / name, folder / name)
    sync(folder)
    if _is_folder(old):
        shutil.rmtree(old)
    os.rmdir(new)


def _is_folder(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISDIR(os.lstat(path).st_mode)


def _mounts() -> set[str]:
    """Places where something is mounted, also where both sides are of one file system."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return set()
    return {re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), line.split()[4]) for line in lines}
