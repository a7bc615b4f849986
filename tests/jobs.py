"""Jobs that worker processes can import by name."""

import os
import pickle
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from despur.flows.pool import Done


def run_here(stages: Any, *, progress: Any, **_: Any) -> Any:
    """`run_jobs` without processes, which take longer to start than to work; what a job is given still goes through a pickle."""
    for job in (job for jobs in stages for job in jobs):
        yield Done(job.key, job.function(*pickle.loads(pickle.dumps(job.arguments)), progress=progress))


def square(x: int, *, progress: Any) -> int:
    progress("square", 1, 1, {})
    return x * x


def refuse(x: int, *, progress: Any) -> int:
    raise ValueError(f"no square of {x}\nto be had")


def die_once(mark: str, *, progress: Any) -> str:
    """Kill the own process the first time."""
    path = Path(mark)
    if not path.exists():
        path.write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


def is_there(mark: str, *, progress: Any) -> bool:
    return Path(mark).exists()


def nothing(*arguments: Any, progress: Any) -> None:
    pass


def write(mark: str, *, progress: Any) -> None:
    Path(mark).write_text("written")


def die(*, progress: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def threads(*, progress: Any) -> str:
    return os.environ["OMP_NUM_THREADS"]


def threads_of_torch(*, progress: Any) -> int:
    import torch

    return torch.get_num_threads()


def linger(mark: str, *, progress: Any) -> None:
    """Write down who works, then work in a temporary folder for longer than any test."""
    with tempfile.TemporaryDirectory():
        Path(mark).write_text(str(os.getpid()))
        time.sleep(600)
