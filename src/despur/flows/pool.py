"""Worker processes for independent arms, with progress coming back and failures told apart."""

import contextlib
import multiprocessing as mp
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.managers import SyncManager
from typing import Any

from despur.flows.progress import Progress, silent

_queue: Any = None


def start_worker(progress: Any) -> None:
    """Make a worker: one thread, no chatter, progress sent through this queue."""
    global _queue
    _queue = progress
    follow_parent()
    os.environ["OMP_NUM_THREADS"] = "1"  # two torch threads beside other work were up to 11 times slower than one
    warnings.simplefilter("ignore", FutureWarning)
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def follow_parent() -> None:
    """End this process when the one that started it is gone: a pool whose owner was killed would wait for ever."""
    parent = mp.parent_process()

    def wait_and_end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


@contextlib.contextmanager
def reports(context: Any) -> Iterator[Any]:
    """A queue on which workers report; who keeps it ends with this process, too."""
    manager = SyncManager(ctx=context)
    manager.start(follow_parent)
    with manager:
        yield manager.Queue()


def _report(stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
    _queue.put((stage, step, steps, dict(figures)))


def call(job: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Run a job in a worker."""
    return job(*arguments, progress=_report)


def run_jobs(
    stages: Sequence[Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]], *, workers: int, progress: Progress = silent
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Run jobs in worker processes, stage after stage; yields `(arguments, result)` as they end.

    Args:
        stages: Lists of `(function, arguments)`; a stage starts when the one before it is done. The
            function takes `progress=` and is importable by name.
        workers: Processes.
        progress: Called here, in the parent, with what the workers report.

    Raises:
        Exception: whatever a job raised; the others of its stage are cancelled.
    """
    context = mp.get_context("spawn")
    with (
        reports(context) as told,
        ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=(told,)) as pool,
    ):
        try:
            for jobs in stages:
                waiting: dict[Future[Any], tuple[Any, ...]] = {
                    pool.submit(call, job, arguments): arguments for job, arguments in jobs
                }
                while waiting:
                    done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                    drain(told, progress)
                    for future in done:
                        yield waiting.pop(future), future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def drain(told: Any, progress: Progress) -> None:
    """Hand on what the workers reported."""
    while True:
        try:
            progress(*told.get_nowait())
        except queue.Empty:
            return
