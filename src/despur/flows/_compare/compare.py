"""Every guard and every control on the same work: planned, run, chosen, run again on other seeds, judged."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from despur.core import locked, write_json
from despur.core.extras import need
from despur.flows._compare.aftermath import stress_cells
from despur.flows._compare.arm import Setting, find_arm
from despur.flows._compare.arms import ARMS
from despur.flows._compare.asked import ASKED, MIN_STEPS, plan_of, read_steps, record_of
from despur.flows._compare.cell import Cell, is_done, prepare_bench, run_cell
from despur.flows._compare.estimate import Estimate, estimate
from despur.flows._compare.judging import choose, judge
from despur.flows._compare.plan import FILE, REFERENCES, cells_of, read_plan
from despur.flows._compare.saved import CHOSEN, FAILED, RECORD, read_chosen, read_failed
from despur.flows._compare.stress import run_stress
from despur.flows._compare.study import Chosen, Study
from despur.flows.guard_budget import Budget
from despur.flows.option import Option
from despur.flows.placement import Device, Where, check_device
from despur.flows.pool import Engine, Job, run_jobs
from despur.flows.progress import Progress, silent
from despur.flows.verb import Data, Out, bound_call, recorded, verb
from despur.judge import Prereg

ROOM = 16 * 2**20  # bytes


@verb
def compare(
    worlds: Annotated[Sequence[str] | str | Any, Option(metavar="WORLDS|BASE", stands="worlds")] = "",
    data: Data | None = None,
    *,
    out: Out = "runs/compare",
    probes: Data | None = None,
    guards: Sequence[str] | None = None,
    guard_budget: Budget = None,
    seeds: Annotated[int | None, Option(low=1)] = None,
    tuning_seeds: Annotated[int | None, Option(low=1)] = None,
    steps: Annotated[
        int | Mapping[str, int] | None, Option(low=MIN_STEPS, metavar="N|WORLD=N,...", read=read_steps)
    ] = None,
    quick: bool = False,
    deviate: Annotated[bool, Option(recorded=False)] = False,
    after: Sequence[str] = (),
    after_seeds: Annotated[int, Option(low=1)] = 3,
    workers: Annotated[int | None, Option(former="--jobs", low=1, recorded=False)] = None,
    engine: Annotated[Engine, Option(recorded=False)] = "local",
    device: Where = "auto",
    tokenizer: Any = None,
    progress: Progress = silent,
) -> Study:
    """Compare guards and controls on the same work, with statistics that can be trusted.

    The plan is written first (`prereg.yaml`). On tuning seeds every guard runs with all its settings, and one setting of
    each is chosen on the validation half of the prompts. Clearly dominated guards keep that setting alone; others lose
    the settings that another of their own beats. Report seeds are different seeds, judged on the other half of the
    prompts. An interrupted study continues where it stopped.

    Args:
        worlds: Worlds, separated by commas, or with `data` your own base, in Python also in memory; the folder's plan if left out.
        data: Your own rows to tune on, with `probes`; in Python also rows in memory.
        out: Folder of the study.
        probes: What your tune must not change: JSON lines of axis, prompt, good, bad; in Python also rows in memory.
        guards: Guards, separated by commas; each brings its control. All if left out.
        guard_budget: Tokens of text that guards read for each token of the task, or `low`; what each arm states if left out.
        seeds: Report seeds; 8 if left out, 2 with `quick`.
        tuning_seeds: Seeds on which settings are chosen; 3 if left out, none with `quick`.
        steps: Optimiser steps of every run: `120`, or by world, `persona=80,slant=120`; each world's own if left out.
        quick: Two seeds, six guards, half of each world's steps, no tuning, where nothing else is asked for: minutes.
        deviate: Continue with another plan than the registered one; the report lists the differences.
        after: Guards to test after training, separated by commas: trained further without the guard, on the harm again,
            steered towards it, and trained at other ranks.
        after_seeds: How many report seeds those tests use.
        workers: Worker processes; one per core if left out.
        engine: `local` processes, or `ray`: the cluster of RAY_ADDRESS, or one started here.
        device: Where models are computed; `auto` trains on a CUDA device where there is one, and measures on the CPU.
        tokenizer: Of a base in memory.
        progress: Called as runs end, and after every step of local ones.

    Raises:
        BadInput, UnknownName, MissingExtra: what was asked cannot be run.

    Example:
        $ despur compare persona --quick
        $ despur compare persona,advice,slant --seeds 8 -o study/ --dry-run
        $ despur compare base/ data.jsonl --probes probes.jsonl --guards avert,grasp,early -o study/
        >>> # compare("persona", out="study/", quick=True).page
        >>> # compare(model, rows, probes=probes, tokenizer=tokenizer, out="study/").page
    """
    arguments, out = recorded(compare, locals()), Path(out)
    check_device(device)
    need("compare", "a study's tables are parquet, which")
    with locked(out, room=ROOM):  # two runs of one study would each take what the other is making for a failure
        asked: dict[str, Any] = dict(zip(ASKED, (guards, guard_budget, seeds, tuning_seeds, steps, quick), strict=True))
        plan, notes = plan_of(worlds, data, probes, out=out, deviate=deviate, **asked)
        write_json(out / RECORD, record_of(out, plan, arguments))
        workers = workers or os.cpu_count() or 1
        run = _Runner(out, plan, workers, engine, device, progress)
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


def dry_run(*args: Any, **kwargs: Any) -> Estimate:
    """Estimate what a comparison would cost, without running it.

    Args:
        *args: As in `compare`.
        **kwargs: As in `compare`.

    Example:
        >>> # dry_run("persona", out="study/", quick=True).hours
    """
    with ExitStack() as stack:
        bound = bound_call(compare, args, kwargs, stack)
        bound.apply_defaults()
        given = bound.arguments
        asked = {name: given[name] for name in (*ASKED, "deviate")}
        plan, _ = plan_of(given["worlds"], given["data"], given["probes"], out=Path(given["out"]), **asked)
        return estimate(plan, Path(given["out"]), workers=given["workers"])


def judge_again(study: Path | str) -> Study:
    """Judge the runs in a study's folder, complete or not, and write its tables and its page again.

    Args:
        study: Folder of a study.

    Raises:
        BadInput: no study there.
    """
    out = Path(study)
    plan = read_plan(out / FILE)
    for guard in plan.guards:
        find_arm(guard, ARMS)
    tuning = cells_of(plan, plan.worlds, plan.tuning_seeds)
    chosen = read_chosen(out, plan) or choose(plan, out, tuning)
    reported = _reported(plan, chosen)
    return judge(plan, out, tuning, reported, chosen, read_failed(out), ())


def _reported(plan: Prereg, chosen: Chosen) -> list[Cell]:
    """Runs on the report seeds: all settings that were not outdone, of a guard that was screened out the chosen one."""
    without = {w: {g: c["without"] for g, c in of.items()} for w, of in chosen.items()}
    return cells_of(plan, plan.worlds, plan.report_seeds, without)


class _Runner:
    def __init__(
        self, out: Path, plan: Prereg, workers: int, engine: Engine, device: Device, progress: Progress
    ) -> None:
        self.out, self.plan, self.workers, self.progress = out, plan, workers, progress
        self.engine: Engine = engine
        self.device: Device = device
        self.failed: dict[str, str] = {}

    def round(self, name: str, cells: Sequence[Cell]) -> None:
        """Run what is not there yet: first what runs share, then the runs, long ones first."""
        left = [c for c in cells if not is_done(self.out, c)]
        benches: dict[tuple[str, int, int | None], list[tuple[str, Setting]]] = {}
        for c in left:
            benches.setdefault((c.world, c.seed, c.steps), []).append((c.arm, c.setting))
        shared = [Job(b, prepare_bench, (self.out, *b, lines, self.device)) for b, lines in benches.items()]
        for key in self._run(f"{name}: shared work", shared):
            left = [c for c in left if (c.world, c.seed, c.steps) != key]
        for _ in self._run(f"{name}: runs", [Job(c, run_cell, (self.out, c, self.device)) for c in by_cost(left)]):
            pass

    def stress(self, cells: Sequence[Cell]) -> None:
        """Run the tests after training."""
        for _ in self._run("after the guard", [Job(c, run_stress, (self.out, c, self.device)) for c in cells]):
            pass

    def _run(self, stage: str, jobs: list[Job]) -> Iterator[Any]:
        """Run jobs, yield the keys of those that failed."""
        self.progress(stage, 0, len(jobs), {})
        ended = run_jobs([jobs], workers=self.workers, engine=self.engine, progress=self.progress)
        for number, done in enumerate(ended, 1):
            self.progress(stage, number, len(jobs), {"failed": float(len(self.failed))} if self.failed else {})
            if done.error is not None:
                self.failed[str(done.key)] = done.error
                yield done.key


def by_cost(cells: Iterable[Cell]) -> list[Cell]:
    """References first, without which nothing can be judged; then long runs, so that no worker ends alone with one."""
    return sorted(cells, key=lambda c: (c.arm not in REFERENCES, -ARMS[c.arm].cost))
