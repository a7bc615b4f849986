"""For fuzzing: a hang is a failure, and what a folder has is compared before and after."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path


class Late(BaseException):
    """No `except Exception` takes it for an error of a library."""


@contextlib.contextmanager
def in_time(seconds: float = 20.0) -> Iterator[None]:
    """Turn a hang into a failure."""

    def late(*_: object) -> None:
        raise Late(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in sorted(folder.rglob("*"))}
