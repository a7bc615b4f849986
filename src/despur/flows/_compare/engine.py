"""Independent jobs on worker processes or on a Ray cluster: one that fails, or whose worker is lost, stops no other."""

import logging
import multiprocessing as mp
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Literal

from despur.core.errors import DespurError, MissingExtra
from despur.flows.pool import call, drain, reports, start_worker
from despur.flows.progress import Progress, silent

Engine = Literal["local", "ray"]
TRIES = 3  # of a job whose worker was lost, before it counts as failed


@dataclass(frozen=True)
class Job:
    """A call that a worker can import by name.

    Args:
        key: What it is, for the caller.
        function: Takes `progress=` beside its arguments.
        arguments: All picklable.
    """

    key: Any
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """How a job ended.

    Args:
        key: The job's.
        result: What it gave; None where it failed.
        error: Why it failed, in one line; None where it did not.
    """

    key: Any
    result: Any = None
    error: str | None = None


def run_all(
    jobs: Sequence[Job], *, workers: int, engine: Engine = "local", progress: Progress = silent
) -> Iterator[Done]:
    """Run jobs in any order, yield each as it ends.

    Args:
        jobs: What to run; results do not depend on the engine.
        workers: Processes, or of Ray the processors that a local cluster is given.
        engine: `local` starts processes here; `ray` uses the cluster of RAY_ADDRESS, or starts one here.
        progress: Called here with what local workers report.

    Raises:
        MissingExtra: no Ray.
    """
    if not jobs:
        return iter(())
    return _on_ray(jobs, workers) if engine == "ray" else _here(jobs, workers, progress)


class _LostWorker(Exception):
    def __init__(self, under_way: list[Job]) -> None:
        super().__init__()
        self.under_way = under_way


def _here(jobs: Sequence[Job], workers: int, progress: Progress) -> Iterator[Done]:
    context = mp.get_context("spawn")
    left, tries = list(jobs), {id(job): TRIES for job in jobs}
    with reports(context) as told:
        while left:
            many = min(workers, len(left))
            pool = ProcessPoolExecutor(many, mp_context=context, initializer=start_worker, initargs=(told,))
            try:
                for job, done in _on_pool(pool, many, list(left), told, progress):
                    left.remove(job)
                    yield done
            except _LostWorker as lost:  # whose worker died is not told: all under way have one try less
                for job in lost.under_way:
                    tries[id(job)] -= 1
                    if not tries[id(job)]:
                        left.remove(job)
                        yield Done(job.key, error=f"its worker was lost {TRIES} times (killed, or out of memory)")
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _on_pool(
    pool: ProcessPoolExecutor, workers: int, jobs: list[Job], told: Any, progress: Progress
) -> Iterator[tuple[Job, Done]]:
    # no more are handed over than can run at a time, so that a lost worker costs a try to those alone
    waiting: dict[Future[Any], Job] = {}
    queue = iter(jobs)
    while True:
        while len(waiting) < workers and (job := next(queue, None)) is not None:
            waiting[pool.submit(call, job.function, job.arguments)] = job
        if not waiting:
            return
        done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        drain(told, progress)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            raise _LostWorker(list(waiting.values()))
        for future in done:
            job, error = waiting.pop(future), future.exception()
            yield job, Done(job.key, error=_line(error)) if error else Done(job.key, future.result())


def _on_ray(jobs: Sequence[Job], workers: int) -> Iterator[Done]:
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
    except ImportError as error:
        raise MissingExtra("engine 'ray' needs Ray. Install: pip install 'despur[ray]'") from error
    began = not ray.is_initialized()
    if began:
        cluster: dict[str, Any] = (
            {"address": os.environ["RAY_ADDRESS"]} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers}
        )
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, **cluster)
    try:
        run: Any = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_call_there)
        waiting = {run.remote(job.function, job.arguments): job for job in jobs}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done[0])
            try:
                yield Done(job.key, ray.get(done[0]))
            except RayTaskError as error:
                yield Done(job.key, error=_line(error.cause))
            except RayError as error:
                yield Done(job.key, error=f"its worker was lost {TRIES} times: {type(error).__name__}")
    finally:
        if began:
            ray.shutdown()


def _call_there(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    start_worker(None)
    return function(*arguments, progress=silent)


def _line(error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if isinstance(error, DespurError) else f"{type(error).__name__}: {said}"
