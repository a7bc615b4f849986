"""Folders: written beside their place and renamed into it, so what is there is whole."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from despur.core.disk.files import reason, sync, sync_all, write_json
from despur.core.disk.in_place import move_in, must_stay, put_back, visible
from despur.core.disk.lock import check_room, check_unlocked, fcntl, is_ours, lock, taken
from despur.core.errors import BadInput

DONE = "despur.json"  # in every folder that despur writes
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_CANNOT_MOVE = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)


@contextlib.contextmanager
def new_folder(path: Path | str, *, within: Path | None = None, room: int = 0) -> Iterator[Path]:
    """Give an empty folder to write into; it takes its name only when the block ends well.

    After an exception, Ctrl-C or a full disk nothing of it is left, and what a killed run left is cleared
    away by the next one. An older folder of that name is replaced in the last moment, if despur wrote it
    (it holds `despur.json`, which every new folder gets) or it is empty. Begin it before the work whose result
    it takes: a place that cannot be written is then refused at once. A folder that cannot be renamed (a mount
    point, the only place that may be written) gets its new content inside.

    Args:
        path: Path of the folder; its parents are made, and where it is a link, what that points to is written.
        within: A folder that it may not lead out of, through links.
        room: Bytes that must be free.

    Raises:
        BadInput: the place is taken by something else or by another run, or cannot be written (disk full).

    Example:
        >>> with new_folder(tmp_path / "out") as draft:
        ...     _ = (draft / "note.txt").write_text("whole or not at all")
        >>> sorted(file.name for file in (tmp_path / "out").iterdir())
        ['despur.json', 'note.txt']
    """
    asked = Path(path).absolute()
    path = _real(asked, within)
    draft, old, number = _take(asked, path)
    try:
        check_room(draft, room)
        yield draft
        if not (draft / DONE).exists():
            write_json(draft / DONE, {})
        sync_all(draft)
        _commit(asked, path, draft, old)
    except (OSError, SafetensorError) as error:
        if not _in_writing(error, draft):
            raise
        raise BadInput(
            f"writing {str(asked)!r} failed: {reason(error)}. Nothing of it was left behind; free some room or "
            "choose another -o"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):  # what is wrong with the place was the error above
            _settle(path, old)
        if number is not None:
            os.close(number)


def _real(asked: Path, within: Path | None) -> Path:
    """Where a path leads, through links."""
    try:
        path = asked.resolve()
        dangling = asked.is_symlink() and not path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself; a name that no file can have
        raise BadInput(f"cannot write {str(asked)!r}: {reason(error)}. Choose another -o") from error
    if dangling:
        raise BadInput(f"{str(asked)!r} is a link that leads nowhere. Remove it, or choose another -o")
    if within is not None and not path.is_relative_to(within.resolve()):
        raise BadInput(
            f"{str(asked)!r} leads out of {str(within)!r}, to {str(path)!r}, which is not replaced. Remove the link"
        )
    return path


def _take(asked: Path, path: Path) -> tuple[Path, Path, int | None]:
    """Make a draft, locked while this process lives: an unlocked one is what a killed run left."""
    number = None
    try:
        inside = path.is_dir() and must_stay(path)
        draft, old = (
            path / f".despur.{kind}" if inside else path.with_name(f".{path.name}.{kind}") for kind in ("draft", "old")
        )
        if inside:
            number = None if is_ours(path) else _locked(path)
            put_back(path, old)
        else:
            check_unlocked(path)
        _check_own(asked, path)
        with contextlib.suppress(FileExistsError):  # what a killed run left, or something else
            draft.mkdir(parents=True)
        for place in (draft, old):
            _check_left(place, marked=place == old)
        if not inside:
            number = _locked(draft)
        with os.scandir(draft) as entries:
            for left in entries:
                shutil.rmtree(left.path) if left.is_dir(follow_symlinks=False) else os.unlink(left.path)
        _settle(path, old)
        return draft, old, number
    except (OSError, BadInput) as error:
        if number is not None:
            os.close(number)
        if isinstance(error, BadInput):
            raise
        if isinstance(error, BlockingIOError):
            raise taken(asked) from error
        raise BadInput(f"cannot write {str(asked)!r}: {reason(error)}. Choose another -o") from error


def _locked(folder: Path) -> int | None:
    """Open and lock a folder.

    Raises:
        BlockingIOError: it is another run's, or was, and this moment became its result.
    """
    if fcntl is None:
        return None
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        lock(number)
        if not os.path.lexists(folder) or not os.path.samestat(os.fstat(number), os.lstat(folder)):
            raise BlockingIOError
    except BaseException:
        os.close(number)
        raise
    return number


def _check_own(asked: Path, path: Path) -> None:
    if path.exists() and not (path.is_dir() and path.name and ((path / DONE).is_file() or not visible(path))):
        raise BadInput(f"{str(asked)!r} is there and despur did not write it, so it is not replaced. Choose another -o")


def _check_left(place: Path, *, marked: bool) -> None:
    """Refuse what bears the name of a draft, or of an older version, and is none: a link, a file, another's folder."""
    if not os.path.lexists(place):
        return
    status = os.lstat(place)
    own = stat.S_ISDIR(status.st_mode) and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid())
    if own and marked and os.listdir(place):
        own = (place / DONE).is_file()
    if not own:
        raise BadInput(
            f"{str(place)!r} is in the way, and despur did not write it. Move it elsewhere, or choose another -o"
        )


def _commit(asked: Path, path: Path, draft: Path, old: Path) -> None:
    """Let a draft take its name."""
    _check_own(asked, path)  # again: the work may have taken hours
    if draft.parent == path:
        move_in(path, draft, old)
        return
    try:
        if path.exists():
            os.replace(path, old)
    except OSError as error:
        if error.errno not in _CANNOT_MOVE:
            raise
        inner = path / ".despur.draft"  # a mount that could not be seen before
        shutil.copytree(draft, inner)
        sync_all(inner)
        move_in(path, inner, path / ".despur.old")
        return
    os.replace(draft, path)
    sync(path.parent)


def _settle(path: Path, old: Path) -> None:
    """Drop the old version once the new one stands; put it back where the new one never came."""
    if old.parent == path:
        put_back(path, old)
        return
    if os.path.lexists(old) and not path.exists():
        os.replace(old, path)
    shutil.rmtree(old, ignore_errors=True)


def _in_writing(error: OSError | SafetensorError, draft: Path) -> bool:
    """Whether an error is the writing's own, and not that of something which the block read or fetched."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM or str(error.filename).startswith(str(draft))
    return "while serializing" in str(error)
