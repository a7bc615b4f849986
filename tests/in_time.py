"""For fuzzing: a hang is a failure, and what a folder has is compared before and after."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path


class Late(BaseException):
    """No `except Exception` takes it for an error of a library."""


@contextlib.contextmanager
def in_time(seconds: float = 20.0) -> Iterator[None]:
    """Turn a hang into a failure: so many seconds of the processor, or thirty times as many of waiting (a pipe, a lock)."""

    def late(*_: object) -> None:
        raise Late(f"still at it after {seconds} s")

    # a machine that is busy with other work must not look like a hang
    clocks = {signal.ITIMER_PROF: (signal.SIGPROF, seconds), signal.ITIMER_REAL: (signal.SIGALRM, 30 * seconds)}
    before = {name: signal.signal(name, late) for name, _ in clocks.values()}
    try:
        for clock, (_, limit) in clocks.items():
            signal.setitimer(clock, limit)
        yield
    finally:
        for clock in clocks:
            signal.setitimer(clock, 0)
        for name, handler in before.items():
            signal.signal(name, handler)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in sorted(folder.rglob("*"))}
