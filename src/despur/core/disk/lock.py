"""Who writes a folder: locks that end with the process that took them."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from despur.core.disk.files import reason
from despur.core.errors import BadInput

try:
    import fcntl
except ImportError:  # Windows has none: two runs that write one folder at a time are not distinguished there
    fcntl = None

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
_ours: set[tuple[int, int]] = set()  # folders that this process has locked


@contextlib.contextmanager
def locked(path: Path | str, *, room: int = 0, file: bool = False) -> Iterator[Path]:
    """Take a folder, or a file's name, for this process alone while the block runs; a folder is made where it is missing.

    Args:
        path: The folder; removed again if the block leaves nothing in a new one. Or the file.
        room: Bytes that must be free.
        file: It is a file: an empty folder beside it is locked, and removed in the end.

    Raises:
        BadInput: another run writes there, or it cannot be written.

    Example:
        >>> with locked(tmp_path / "run") as folder:
        ...     folder.is_dir()
        True
        >>> (tmp_path / "run").exists()
        False
    """
    path = Path(path)
    folder = path.with_name(f".{path.name}.lock") if file else path
    new = file or not os.path.lexists(folder)
    number, here = None, (0, 0)
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = os.open(folder, os.O_RDONLY) if fcntl is not None else None
            lock(number)
            if number is not None:
                status = os.fstat(number)
                here = (status.st_dev, status.st_ino)
                if here in _ours or not os.path.samestat(status, folder.stat()):
                    here = (0, 0)
                    raise BlockingIOError  # this process has it, or it was removed meanwhile
            with tempfile.TemporaryFile(dir=folder):
                pass
        except FileExistsError as error:
            raise BadInput(f"{str(folder)!r} is a file, where a folder is needed. Choose another -o") from error
        except BlockingIOError as error:
            raise taken(path) from error
        except OSError as error:
            raise BadInput(f"cannot write {str(path)!r}: {reason(error)}. Choose another -o") from error
        check_room(folder, room)
        _ours.add(here)
        yield path
    finally:
        _ours.discard(here)
        if number is not None:
            os.close(number)
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only an empty one


def is_ours(folder: Path) -> bool:
    """Whether this process has locked a folder."""
    status = folder.stat()
    return (status.st_dev, status.st_ino) in _ours


def check_unlocked(folder: Path) -> None:
    """Refuse a folder that another run has locked.

    Raises:
        BlockingIOError: it has.
    """
    if fcntl is not None and folder.is_dir() and not is_ours(folder):
        number = os.open(folder, os.O_RDONLY)
        try:
            lock(number)
        finally:
            os.close(number)


def lock(number: int | None) -> None:
    """Lock an open folder, at once or not at all; nothing where the file system has no locks.

    Raises:
        BlockingIOError: another has it.
    """
    if fcntl is None or number is None:
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def taken(path: Path) -> BadInput:
    """The error of a place that another run writes."""
    return BadInput(f"another run is writing {str(path)!r}. Wait for it or choose another -o")


def check_room(folder: Path, room: int) -> None:
    """Refuse a disk that is too full for what is to come.

    Raises:
        BadInput: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < room:
        raise BadInput(
            f"{str(folder)!r} has {free / 2**20:.1f} MB free, and at least {room / 2**20:.1f} MB are needed. Free some room or "
            "choose another -o"
        )
