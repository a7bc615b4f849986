"""What runs in a worker process: one thread, progress sent to the parent, an end when the parent is gone."""

import atexit
import contextlib
import multiprocessing as mp
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.managers import SyncManager
from typing import Any

from despur.flows.progress import Progress

_queue: Any = None


def start_worker(progress: Any) -> None:
    """Make a worker: one thread, no chatter, progress sent through this queue."""
    global _queue
    _queue = progress
    _follow_parent()
    os.environ["OMP_NUM_THREADS"] = "1"  # two torch threads next to other work were up to 11 times slower than one
    warnings.simplefilter("ignore", FutureWarning)
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def _follow_parent() -> None:
    """End this process when the one that started it is gone: a pool whose owner was killed would wait for ever."""
    parent = mp.parent_process()

    def wait_and_end() -> None:
        if parent is not None:
            parent.join()
            threading.Timer(5, os._exit, (1,)).start()  # whatever holds up what follows
            # temporary folders are removed there, and `os._exit` leaves it out
            atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
            os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


@contextlib.contextmanager
def reports(context: Any) -> Iterator[Any]:
    """A queue on which workers report; who keeps it ends with this process, too."""
    manager = SyncManager(ctx=context)
    manager.start(_follow_parent)
    with manager:
        yield manager.Queue()


def _report(stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
    _queue.put((stage, step, steps, dict(figures)))


def call(job: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Run a job here, its progress sent to the parent."""
    return job(*arguments, progress=_report)


def drain(messages: Any, progress: Progress) -> None:
    """Hand on what the workers reported."""
    while True:
        try:
            progress(*messages.get_nowait())
        except queue.Empty:
            return
