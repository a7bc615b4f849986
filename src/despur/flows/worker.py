"""What runs in a worker process: one thread, progress sent to the parent, an end when the parent is gone."""

import atexit
import contextlib
import multiprocessing as mp
import os
import queue
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.managers import SyncManager
from multiprocessing.util import get_temp_dir
from typing import Any

from despur.flows.progress import Progress

# what takes seconds to import and every job needs: imported once, by the process that workers are forked from
PRELOADED = ("torch", "transformers", "peft", "despur.flows.worker")

_queue: Any = None


def worker_context() -> Any:
    """How worker processes start here: forked from a server that imported what they need, or each by itself."""
    if sys.platform != "linux":  # a fork after importing torch is not safe everywhere
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


@contextlib.contextmanager
def main_left_out() -> Iterator[None]:
    """Processes that start in here do not run the parent's script again: jobs are functions of modules.

    Without this a script that calls a verb would need `if __name__ == "__main__":` around the call.
    """
    main = sys.modules["__main__"]
    kept = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    try:
        main.__dict__.pop("__file__", None)
        main.__spec__ = None
        yield
    finally:
        main.__dict__.update(kept)


def of_this_process() -> tuple[dict[str, str], str]:
    """What a worker must be told of the process that starts it: its environment of now, its folder of sockets."""
    return dict(os.environ), get_temp_dir()


def start_worker(progress: Any, environment: Mapping[str, str] | None = None, sockets: str = "") -> None:
    """Make a worker: one thread, no chatter, progress sent through this queue, and `of_this_process` of its parent."""
    global _queue
    _queue = progress
    _follow_parent(sockets)
    if environment is not None:  # a server has that of its own start
        os.environ.clear()
        os.environ.update(environment)
    warnings.simplefilter("ignore", FutureWarning)
    import torch
    import transformers

    # two torch threads next to other work were up to 11 times slower than one; a server imported torch before it could read the variable
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def _follow_parent(sockets: str = "") -> None:
    """End this process when the one that started it is gone: a pool whose owner was killed would wait for ever."""
    parent = mp.parent_process()

    def wait_and_end() -> None:
        if parent is not None:
            parent.join()
            threading.Timer(5, os._exit, (1,)).start()  # whatever holds up what follows
            # temporary folders are removed there, and `os._exit` leaves it out
            atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
            if sockets:
                shutil.rmtree(sockets, ignore_errors=True)
            os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


@contextlib.contextmanager
def reports(context: Any) -> Iterator[Any]:
    """A queue on which workers report; who keeps it ends with this process, too."""
    manager = SyncManager(ctx=context)
    with main_left_out():
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
