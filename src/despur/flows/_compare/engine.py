"""The same jobs on a Ray cluster."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from despur.core.errors import MissingExtra
from despur.flows.pool import TRIES, Done, Job, lost
from despur.flows.progress import silent
from despur.flows.worker import start_worker


def on_ray(stages: Sequence[Sequence[Job]], workers: int) -> Iterator[Done]:
    """Run stages of jobs on the cluster of RAY_ADDRESS, or on one that is started here.

    Raises:
        MissingExtra: no Ray.
    """
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
        for jobs in stages:
            waiting = {run.remote(job.function, job.arguments): job for job in jobs}
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=1)
                job = waiting.pop(done[0])
                try:
                    yield Done(job.key, ray.get(done[0]))
                except RayTaskError as error:
                    yield Done(job.key, cause=error.cause)
                except RayError as error:
                    yield Done(job.key, cause=lost(type(error).__name__))
    finally:
        if began:
            ray.shutdown()


def _call_there(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    start_worker(None)
    return function(*arguments, progress=silent)
