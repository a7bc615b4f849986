"""How long a study will take, before it is started."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from despur.core.text.rows import tokenize_rows
from despur.flows._compare.arms import ARMS
from despur.flows._compare.cell import Cell, is_done, seconds
from despur.flows._compare.plan import cells_of
from despur.flows._compare.worlds import open_world, settings_of
from despur.flows._train.fit import fit, new_adapter
from despur.judge import Prereg

WARM, TIMED = 3, 12  # steps before and while the clock runs
SHARED = 4.0  # plain runs that a bench makes once: naive, two twins, scout, own text, scores on the way


@dataclass(frozen=True)
class Estimate:
    """Remaining runs, and what they will cost.

    Args:
        runs: World -> runs in the tuning round, and at most in the report round.
        done: Finished runs.
        plain: World -> seconds of one plain run, measured.
        seconds: Processor time of all remaining runs, no guard screened out.
        workers: Processes.
    """

    runs: Mapping[str, tuple[int, int]]
    done: int
    plain: Mapping[str, float]
    seconds: float
    workers: int

    @property
    def hours(self) -> float:
        """Wall time, with one core per worker."""
        return self.seconds / self.workers / 3600

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "hours": self.hours}


def estimate(plan: Prereg, out: Path, *, workers: int | None = None) -> Estimate:
    """Time some plain steps in each world, and count.

    Args:
        plan: The registered plan.
        out: Folder of the study; finished runs there give the cost of their guard.
        workers: Processes; one per core if left out.
    """
    runs: dict[str, tuple[int, int]] = {}
    plain: dict[str, float] = {}
    left, done = 0.0, 0
    for world in plan.worlds:
        tuning, report = (cells_of(plan, [world], seeds) for seeds in (plan.tuning_seeds, plan.report_seeds))
        runs[world] = (len(tuning), len(report))
        plain[world] = _plain_run(world, plan.steps[world], out)
        cost = _costs([*tuning, *report], out, plain[world])
        there = [is_done(out, c) for c in (*tuning, *report)]
        done += sum(there)
        left += sum(cost[c.arm] for c, is_there in zip((*tuning, *report), there, strict=True) if not is_there)
        benches = {c.seed for c, is_there in zip((*tuning, *report), there, strict=True) if not is_there}
        left += SHARED * plain[world] * len(benches)
    return Estimate(runs, done, plain, left, workers or os.cpu_count() or 1)


def _plain_run(name: str, steps: int, out: Path) -> float:
    torch.set_num_threads(1)  # as every worker has
    world = open_world(name, out)
    model, tokenizer = world.base()
    settings = replace(settings_of(world.training), steps=WARM + TIMED)
    rows = tokenize_rows(world.rows(n=settings.batch * 4), tokenizer, max_length=int(world.training["max_length"]))
    times: list[float] = []
    fit(
        new_adapter(model, settings),
        rows,
        settings,
        every=1,
        evaluate=lambda model, step: times.append(time.process_time()),
    )
    return (times[-1] - times[WARM - 1]) / TIMED * steps


def _costs(cells: Sequence[Cell], out: Path, plain: float) -> dict[str, float]:
    """Arm -> seconds of one run: the mean of those that were timed, else the arm's own guess."""
    costs: dict[str, float] = {}
    for arm in dict.fromkeys(c.arm for c in cells):
        timed = [seconds(out, c) for c in cells if c.arm == arm and is_done(out, c)]
        costs[arm] = mean(timed) if timed else ARMS[arm].cost * plain
    return costs
