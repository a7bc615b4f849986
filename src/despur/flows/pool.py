"""Stages of independent jobs on worker processes: a job that fails, or whose worker is lost, does not stop the others."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from despur.core.errors import DespurError, in_one_line
from despur.flows.progress import Progress, silent
from despur.flows.worker import call, drain, main_left_out, of_this_process, reports, start_worker, worker_context

Engine = Literal["local", "ray"]
TRIES = 3  # of a job whose worker was lost, before it counts as failed


@dataclass(frozen=True)
class Job:
    """A call that a worker can import by name.

    Args:
        key: The caller's name for it.
        function: Takes `progress=` besides its arguments.
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
        result: Its return value; None where it failed.
        cause: Why it failed; None where it did not.
    """

    key: Any
    result: Any = None
    cause: BaseException | None = None

    @property
    def error(self) -> str | None:
        """Why it failed, in one line; None where it did not."""
        return None if self.cause is None else in_one_line(self.cause)

    def value(self) -> Any:
        """What the job gave, or else its failure raised here, for callers that cannot go on without it."""
        if self.cause is not None:
            raise self.cause
        return self.result


def run_jobs(
    stages: Sequence[Sequence[Job]], *, workers: int, engine: Engine = "local", progress: Progress = silent
) -> Iterator[Done]:
    """Run jobs in any order within a stage, stage after stage; yield each as it ends.

    Args:
        stages: A stage starts when every job of the one before it has ended, well or not. A caller that cannot do without
            a job leaves the loop: what has not started is then never run.
        workers: Processes, or of Ray the processors that a local cluster is given.
        engine: `local` starts processes here; `ray` uses the cluster of RAY_ADDRESS, or starts one here. Results do not
            depend on it.
        progress: Called here, in the parent, with what local workers report.

    Raises:
        MissingExtra: no Ray.
    """
    stages = [jobs for jobs in stages if jobs]
    if not stages:
        return iter(())
    if engine == "ray":
        from despur.flows._compare.engine import on_ray

        return on_ray(stages, workers)
    return _here(stages, workers, progress)


def lost(reason: str) -> DespurError:
    """The error of a job whose worker was lost in every try."""
    return DespurError(
        f"its worker was lost {TRIES} times ({reason}). Free memory, or take fewer workers, and start it again"
    )


class _LostWorker(Exception):
    def __init__(self, under_way: list[Job]) -> None:
        super().__init__()
        self.under_way = under_way


def _here(stages: Sequence[Sequence[Job]], workers: int, progress: Progress) -> Iterator[Done]:
    context = worker_context()
    many = min(workers, max(map(len, stages)))
    own = any(job.function.__module__ == "__main__" for jobs in stages for job in jobs)
    pool: ProcessPoolExecutor | None = None
    with reports(context) as messages:
        try:
            for jobs in stages:
                left, tries = list(jobs), {id(job): TRIES for job in jobs}
                while left:
                    pool = pool or ProcessPoolExecutor(
                        many, mp_context=context, initializer=start_worker, initargs=(messages, *of_this_process())
                    )
                    try:
                        for job, done in _on_pool(pool, many, list(left), own, messages, progress):
                            left.remove(job)
                            yield done
                    except _LostWorker as broken:  # which worker died is not known: all under way have one try less
                        pool.shutdown(wait=False, cancel_futures=True)
                        pool = None
                        for job in broken.under_way:
                            tries[id(job)] -= 1
                            if not tries[id(job)]:
                                left.remove(job)
                                yield Done(job.key, cause=lost("killed, or out of memory"))
        finally:
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)


def _on_pool(
    pool: ProcessPoolExecutor, workers: int, jobs: list[Job], own: bool, messages: Any, progress: Progress
) -> Iterator[tuple[Job, Done]]:
    # no more are handed over than can run at a time, so that a lost worker costs a try to those alone
    waiting: dict[Future[Any], Job] = {}
    queue = iter(jobs)
    while True:
        while len(waiting) < workers and (job := next(queue, None)) is not None:
            try:
                # a script of whose own functions some are jobs is run again by each worker, whichever job starts it, and has
                # `if __name__ == "__main__":` around the call
                with nullcontext() if own else main_left_out():
                    waiting[pool.submit(call, job.function, job.arguments)] = job
            except BrokenProcessPool as error:  # a worker died while none of these was under way
                raise _LostWorker(list(waiting.values())) from error
        if not waiting:
            return
        done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        drain(messages, progress)
        ended = {future: future.exception() for future in done}
        for future, error in ended.items():
            if not isinstance(error, BrokenProcessPool):
                job = waiting.pop(future)
                yield job, Done(job.key, cause=error) if error else Done(job.key, future.result())
        if any(isinstance(error, BrokenProcessPool) for error in ended.values()):
            raise _LostWorker(list(waiting.values()))
