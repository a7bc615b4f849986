"""Progress of long work: on a terminal bars with the time left, elsewhere plain lines about once a minute."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from logging.handlers import MemoryHandler

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from despur.cli.start import settled
from despur.cli.terminal import Harmless, progress_console, say_error
from despur.flows.progress import LOGGER, Logged, duration, silent

_SHORT = 2.0  # seconds; a stage that took less needs no line of its own
_SILENT = 2.0  # seconds in which nothing is logged: most commands are over


@contextlib.contextmanager
def progress_bars(*, quiet: bool) -> Iterator[object]:
    """Give a callback `(stage, step, steps, figures)` that draws on a terminal, writes lines elsewhere, and is silent with --json."""
    if quiet:
        settled()
        yield silent
    elif not progress_console.is_terminal:
        with _lines():
            settled()  # work begins: what it needs was imported before
            yield Logged()
    else:
        columns = (
            TextColumn("{task.description:<20.20}", markup=False), BarColumn(bar_width=16),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[figures]}", style="dim", markup=False),
        )  # fmt: skip
        with Progress(*columns, console=progress_console, transient=True) as bars:
            settled()
            yield Stages(bars)


class Stages:
    """A bar for each stage that is under way; one that has ended leaves a line with the time that it took.

    Args:
        bars: Where they are drawn.
    """

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}

    def __call__(self, stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
        """Draw a step."""
        if not steps:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._going_on(stage, step, steps)
            self._begun[stage] = time.monotonic()
        text = " ".join(f"{k} {v:.3g}" for k, v in figures.items())
        self._bars.update(self._tasks[stage], completed=step, total=steps, figures=text)
        if step >= steps:
            self._bars.remove_task(self._tasks.pop(stage))
            took = time.monotonic() - self._begun.pop(stage)
            if took >= _SHORT:
                say_error(f"{stage}: {duration(took)}")

    def _going_on(self, stage: str, step: int, steps: int) -> TaskID:
        """The bar of a stage: a new one, or that of the stage before, where the two count the same steps."""
        for name, task in self._tasks.items():
            known = next(t for t in self._bars.tasks if t.id == task)
            if step > 0 and known.total == steps and known.completed < step:
                self._bars.update(task, description=stage)
                del self._tasks[name]
                return task
        return self._bars.add_task(stage, total=steps, figures="")


@contextlib.contextmanager
def _lines() -> Iterator[None]:
    """Let what is logged appear on standard error, unless all is over before anybody would wait for a line."""
    shown, logger = logging.StreamHandler(Harmless(progress_console.file)), logging.getLogger(LOGGER)
    shown.setFormatter(logging.Formatter("%(asctime)s despur: %(message)s", "%H:%M:%S"))
    handler = MemoryHandler(10**6, logging.CRITICAL + 1, shown, flushOnClose=False)
    waiting = threading.Timer(_SILENT, _let_through, (handler,))
    waiting.daemon = True
    waiting.start()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        waiting.cancel()
        logger.removeHandler(handler)
        logger.setLevel(level)


def _let_through(handler: MemoryHandler) -> None:
    """Write what was kept, and from now on each line at once."""
    handler.capacity = 1
    handler.flush()
