"""Progress of long work on the terminal: one line per stage, with the time left."""

import contextlib
from collections.abc import Iterator, Mapping

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from despur.cli.start import settled
from despur.cli.terminal import progress_console


@contextlib.contextmanager
def progress_bars(*, quiet: bool) -> Iterator[object]:
    """Give a callback `(stage, step, steps, figures)` that draws; on a pipe or with --json nothing is drawn."""
    settled()  # work begins: what it needs was imported before
    if quiet or not progress_console.is_terminal:
        yield lambda stage, step, steps, figures: None
        return
    columns = (
        TextColumn("{task.description:<28}", markup=False), BarColumn(bar_width=28), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[figures]}", style="dim", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=progress_console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=steps, figures="")
            text = " ".join(f"{k} {v:.3g}" for k, v in figures.items())
            bars.update(tasks[stage], completed=step, total=steps, figures=text)

        yield show
