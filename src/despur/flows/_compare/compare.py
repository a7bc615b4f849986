"""Every guard and every control on the same work: planned, run, chosen, run again on other seeds, judged."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from despur.core import new_folder, read_json, write_json
from despur.core.errors import BadInput
from despur.flows._compare.aftermath import stress_cells
from despur.flows._compare.arm import find_arm
from despur.flows._compare.cell import Cell, is_done, prepare_bench, run_cell
from despur.flows._compare.engine import Engine, Job, run_all
from despur.flows._compare.plan import FILE, REFERENCES, cells_of, read_plan, register, write_plan
from despur.flows._compare.stress import run_stress
from despur.flows._compare.study import Chosen, Study, choose, judge
from despur.flows._compare.worlds import OWN, describe_own, is_own
from despur.flows.progress import Progress, silent
from despur.judge import Prereg

FAILED, CHOSEN = "failures.json", "chosen.json"


def compare(
    worlds: Sequence[str] = (),
    *,
    out: Path | str,
    own: Mapping[str, str] | None = None,
    guards: Sequence[str] | None = None,
    seeds: int | None = None,
    tuning_seeds: int | None = None,
    steps: int | Mapping[str, int] | None = None,
    quick: bool = False,
    deviate: bool = False,
    after: Sequence[str] = (),
    after_seeds: int = 3,
    workers: int | None = None,
    engine: Engine = "local",
    progress: Progress = silent,
) -> Study:
    """Compare guards and controls on planted worlds, with statistics that can be trusted.

    The plan is written down first (`prereg.yaml`). On tuning seeds every guard runs with all its settings; on the
    validation half of the prompts one setting of each is chosen; guards that are clearly dominated keep that one
    alone, others lose the settings that another of theirs outdoes. The report seeds are others, judged on the other
    half. Killed and started again it goes on where it was.

    Args:
        worlds: Names of worlds; may be left out where the folder has a plan.
        out: Folder of the study.
        own: `base`, `data` and `probes` (see `OwnWork`) of a user's own work, in place of worlds.
        guards: Names of arms; all if left out. Each brings its control.
        seeds: Report seeds, 8 if left out.
        tuning_seeds: Tuning seeds, 3 if left out.
        steps: Optimiser steps of every run, of all worlds or by world, where not each world's own.
        quick: Two seeds, six guards, half of each world's steps, no tuning.
        deviate: Go on though the arguments differ from the registered plan; the report says in what.
        after: Guards whose models are put to the tests of `run_stress`: trained on without the guard, taught the harm again,
            pushed towards it, trained at other ranks.
        after_seeds: On how many of the report seeds.
        workers: Processes; one a core if left out.
        engine: `local` or `ray`.
        progress: Called as runs end, and after every step of local ones.

    Raises:
        BadInput, UnknownName, MissingExtra: what was asked cannot be run.

    Example:
        >>> # compare(["persona"], out="study/", quick=True).page
    """
    out = Path(out)
    asked: dict[str, Any] = {
        "guards": guards,
        "seeds": seeds,
        "tuning_seeds": tuning_seeds,
        "steps": steps,
        "quick": quick,
    }
    plan, notes = settle(worlds, out, own=own, deviate=deviate, **asked)
    workers = workers or os.cpu_count() or 1
    run = _Runner(out, plan, workers, engine, progress)
    tuning = cells_of(plan, plan.worlds, plan.tuning_seeds)
    run.round("tuning", tuning)
    chosen = choose(plan, out, tuning)
    write_json(out / CHOSEN, chosen)
    reported = _reported(plan, chosen)
    run.round("report", reported)
    for guard in after:
        find_arm(guard, plan.guards)
    run.stress(stress_cells(plan, after, after_seeds, chosen))
    write_json(out / FAILED, run.failed)
    return judge(plan, out, tuning, reported, chosen, run.failed, notes)


def report(out: Path | str) -> Study:
    """Judge what a study's folder holds, complete or not, and write its page again.

    Raises:
        BadInput: no study there.
    """
    out = Path(out)
    plan = read_plan(out / FILE)
    tuning = cells_of(plan, plan.worlds, plan.tuning_seeds)
    chosen = read_json(out / CHOSEN) if (out / CHOSEN).exists() else choose(plan, out, tuning)
    reported = _reported(plan, chosen)
    failed = read_json(out / FAILED) if (out / FAILED).exists() else {}
    return judge(plan, out, tuning, reported, chosen, failed, ())


def _reported(plan: Prereg, chosen: Chosen) -> list[Cell]:
    """Runs on the report seeds: all settings that were not outdone, of a guard that was screened out the chosen one."""
    without = {w: {g: c["without"] for g, c in of.items()} for w, of in chosen.items()}
    return cells_of(plan, plan.worlds, plan.report_seeds, without)


def settle(
    worlds: Sequence[str], out: Path, *, own: Mapping[str, str] | None = None, deviate: bool = False, **asked: Any
) -> tuple[Prereg, tuple[str, ...]]:
    """Register a plan in a new folder, or take the one that stands there; while nothing was run it may be replaced.

    Args:
        worlds: Names of worlds.
        out: Folder of the study.
        own: `base`, `data` and `probes` of a user's own work, in place of worlds.
        deviate: Go on with another plan than the registered one.
        **asked: Of `register`.

    Returns:
        The plan, and what is to be told.

    Raises:
        BadInput: other arguments than the registered ones; nothing to compare; the folder is another's.
    """
    given = {k: v for k, v in asked.items() if v}
    if (out / FILE).exists():
        kept = read_plan(out / FILE)
        if not (worlds or own or given):
            return kept, ()
        begun, other = any((out / name).exists() for name in ("shared", "cells")), own and not is_own(out, own)
        if begun and other:
            raise BadInput(f"{str(out)!r} is about other work than this base, data and probes. Choose another -o")
        worlds = worlds or (() if own else kept.worlds)
        if not other:
            plan = register((OWN,) if own else worlds, root=out, **given)
            if plan.digest == kept.digest:
                return kept, ()
            if begun and deviate:
                return plan, tuple(_differences(plan, kept))
            if begun:
                raise BadInput(
                    f"{str(out)!r} was registered with another plan ({kept.digest[:12]}, now {plan.digest[:12]}). Leave the "
                    "arguments out to go on with it, choose another -o, or take --deviate, which the report will say"
                )
    if not (worlds or own):
        raise BadInput("no world to compare guards in. Name one or more, as in: despur compare persona,slant -o study/")
    with new_folder(out) as draft:
        if own:
            describe_own(draft, **own)
        plan = register((OWN,) if own else worlds, root=draft, **given)
        write_plan(plan, draft)
    return plan, ()


def _differences(plan: Prereg, kept: Prereg) -> list[str]:
    now, then = plan.to_dict(), kept.to_dict()
    told = [f"This run's plan ({plan.digest[:12]}) is not the registered one ({kept.digest[:12]})."]
    return told + [f"Of its {k}, registered was {then[k]}, run was {now[k]}." for k in now if now[k] != then[k]]


class _Runner:
    def __init__(self, out: Path, plan: Prereg, workers: int, engine: Engine, progress: Progress) -> None:
        self.out, self.plan, self.workers, self.progress = out, plan, workers, progress
        self.engine: Engine = engine
        self.failed: dict[str, str] = {}

    def round(self, name: str, cells: Sequence[Cell]) -> None:
        """Run what is not there yet: first what runs share, then the runs, long ones first."""
        left = [c for c in cells if not is_done(self.out, c)]
        benches = dict.fromkeys((c.world, c.seed, c.steps) for c in left)
        for key in self._run(f"{name}: shared work", [Job(b, prepare_bench, (self.out, *b)) for b in benches]):
            left = [c for c in left if (c.world, c.seed, c.steps) != key]
        for _ in self._run(f"{name}: runs", [Job(c, run_cell, (self.out, c)) for c in by_cost(left)]):
            pass

    def stress(self, cells: Sequence[Cell]) -> None:
        """Put finished guards to the tests that come after them."""
        for _ in self._run("after the guard", [Job(c, run_stress, (self.out, c)) for c in cells]):
            pass

    def _run(self, stage: str, jobs: list[Job]) -> Iterator[Any]:
        """Run jobs, yield the keys of those that failed."""
        for number, done in enumerate(
            run_all(jobs, workers=self.workers, engine=self.engine, progress=self.progress), 1
        ):
            self.progress(stage, number, len(jobs), {"failed": float(len(self.failed))} if self.failed else {})
            if done.error is not None:
                self.failed[str(done.key)] = done.error
                yield done.key


def by_cost(cells: Iterable[Cell]) -> list[Cell]:
    """References first, without which nothing can be judged; then long runs, so that no worker ends alone with one."""
    from despur.flows._compare.arms import ARMS

    return sorted(cells, key=lambda c: (c.arm not in REFERENCES, -ARMS[c.arm].cost))
