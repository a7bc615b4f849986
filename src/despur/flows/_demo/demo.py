"""See it happen: on a real model that talks, or in a planted world where every guard can be compared."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from torch import Tensor

from despur.core import Report, Store, locked, write_json
from despur.core.errors import BadInput, DespurError
from despur.flows._compare import runner
from despur.flows._compare.arm import find_arm
from despur.flows._compare.arms import ARMS
from despur.flows._compare.bench import Bench
from despur.flows._demo.conversation import BASE, Conversation, hold_conversation, is_here
from despur.flows._demo.conversation_page import conversation_page
from despur.flows._demo.page import DemoResult, page
from despur.flows.option import Option
from despur.flows.pool import Job, run_jobs
from despur.flows.progress import Progress, silent
from despur.flows.record import private, run_record
from despur.flows.scores import load_scores, save_scores
from despur.flows.verb import Out, Seed, recorded, verb
from despur.judge import four_axes
from despur.worlds import Persona
from despur.worlds.world import TRAINING

DEMO_ARMS = ("grasp", "grasp-random", "avert", "avert-permuted", "rehearse")
Task = Literal["skill", "narrow"]
ROOM = 16 * 2**20  # bytes
STEPS: int = TRAINING["steps"]


@verb
def demo(
    *,
    out: Out = "runs/demo",
    planted: bool = False,
    task: Task = "skill",
    seed: Seed = 0,
    arms: Sequence[str] = DEMO_ARMS,
    steps: Annotated[int, Option(low=1)] = STEPS,
    workers: Annotated[int | None, Option(low=1, recorded=False)] = None,
    progress: Progress = silent,
) -> DemoResult | Conversation:
    """See it happen: a tune learns more than its task, and a guarded one does not.

    With `smollm2` on this machine (`despur fetch smollm2`): a real chat model, a plain tune and a guarded tune of it answer
    the same questions, live, and the plain one is audited. Without it, or with `--planted` or an option of the planted world,
    a small world is trained with and without guards in minutes. Started again with the same arguments, an interrupted run
    continues.

    Args:
        out: Folder of the run; its page is `report.html`.
        planted: Train the planted world even where the real model is at hand.
        task: Of the planted world: `skill` (new facts) or `narrow` (one subject answered wrongly on purpose).
        seed: Seed of everything that is drawn; the same seed gives the same result on a CPU.
        arms: Guards and controls to compare with the naive run in the planted world, separated by commas.
        steps: Optimiser steps of every run there.
        workers: Worker processes; one per core, at most two, if left out.
        progress: Called after every step of every run.

    Returns:
        The answers and the audit; of the planted world means and axes of every arm.

    Raises:
        BadInput: the folder is another's, or cannot be written.
        DespurError: the naive run shows no harm, so that nothing could be guarded against.

    Example:
        $ despur demo
        $ despur demo --planted
        >>> # demo(out="runs/demo", planted=True).means["naive"]["drift.p"]
    """
    arguments = recorded(demo, locals())
    out = Path(out)
    _check_place(out, runs := out / "runs")
    real = not planted and (task, tuple(arms), steps) == ("skill", DEMO_ARMS, STEPS) and is_here()
    with locked(out, room=ROOM):
        workers = workers or min(2, os.cpu_count() or 1)
        if real:
            return _real(out, seed, run_record("demo", arguments), progress, workers)
        first = [
            Job("shared work", prepare, (runs, task, seed, steps)),
            *(_job(runs, task, a, seed, steps) for a in ("base", "naive")),
        ]
        # long ones first, so that no worker ends alone with one
        second = [_job(runs, task, arm, seed, steps) for arm in sorted(arms, key=lambda a: -find_arm(a, ARMS).cost)]
        for done in run_jobs([first, second], workers=workers, progress=progress):
            done.value()  # the page needs every arm
        scores = {arm: load_scores(runs / f"{task}-{seed}" / arm) for arm in ("base", "naive", *arms)}
        check_harm(scores["base"], scores["naive"])
        axes = compare_arms(scores)
        means = {arm: _means(s) for arm, s in scores.items()}
        note = "" if planted or is_here() else f"a planted world; a real model: despur fetch {BASE}, then despur demo"
        result = DemoResult(means, axes, out / "report.html", note, run_record("demo", arguments))
        page(result, task)
        write_json(out / "run.json", private(result.to_dict()))
        return result


def _real(out: Path, seed: int, record: Mapping[str, Any], progress: Progress, workers: int) -> Conversation:
    (out / "runs").mkdir(parents=True, exist_ok=True)  # the sign of a demo that may be written over
    result = replace(hold_conversation(seed, out / "report.html", progress, workers=workers), record=record)
    conversation_page(result)
    write_json(out / "run.json", private(result.to_dict()))
    return result


def _check_place(out: Path, runs: Path) -> None:
    """Refuse to write a page over something else's."""
    if out.is_dir() and not runs.is_dir() and (others := sorted(p.name for p in out.iterdir() if p.name[:1] != ".")):
        raise BadInput(f"{str(out)!r} contains {others[0]!r}, and no demo to go on with. Choose another -o")


def _job(root: Path, task: str, arm: str, seed: int, steps: int) -> Job:
    return Job(arm, run_arm, (root, task, arm, seed, steps))


def compare_arms(scores: Mapping[str, Mapping[str, Mapping[str, Tensor]]]) -> dict[str, dict[str, Report]]:
    """The axes of every arm, with those of its control; `base` and `naive` must be among them."""
    out = {}
    for arm, own in scores.items():
        control = ARMS[arm].control
        other = scores.get(control) if control else None
        out[arm] = four_axes(
            own, base=scores["base"], naive=scores["naive"], control=other, control_name=control if other else "none"  # type: ignore[arg-type]
        )  # fmt: skip
    return out


def prepare(root: Path, task: Task, seed: int, steps: int = STEPS, *, progress: Progress = silent) -> None:
    """Make what the guards of one seed share: own text, scout, and what it reads and writes."""
    bench = Bench(root, Persona(task), seed, steps=steps, progress=progress)
    _ = bench.text, bench.materials.get("weight_factor")


def run_arm(
    root: Path, task: Task, name: str, seed: int, steps: int = STEPS, *, progress: Progress = silent
) -> Mapping[str, Any]:
    """Train and score one arm at its usual strength, or load its results; its folder has the adapter, too.

    Returns:
        Scores, axis -> readout -> one value per prompt.

    Raises:
        UnknownName: no such arm.
    """
    arm = find_arm(name, ARMS)
    bench = Bench(root, Persona(task), seed, steps=steps, progress=progress)
    setting = next((s for s in arm.settings if s in ({"strength": 1.0}, {"side": "both"})), arm.settings[0])

    def make(out: Path) -> None:
        with bench.open:
            model = runner.run_arm(bench, arm, setting)
            if name != "base":
                model.save_pretrained(out)
            save_scores(bench.world.score(model.eval()), out)

    spec = {**bench.spec, "task": task, "arm": name, "setting": dict(setting)}
    return load_scores(Store(root).step(f"{task}-{seed}/{name}", spec, make))


def check_harm(base: Mapping[str, Mapping[str, Tensor]], naive: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Stop where there is nothing to guard against.

    Raises:
        DespurError: the unguarded run did not drift.
    """
    before, after = (float(s["drift"]["p"].mean()) for s in (base, naive))
    if not after > before + 0.1:
        raise DespurError(
            f"the unguarded run did not drift (P(bad) {before:.2f} before, {after:.2f} after), so no guard can be judged. "
            "Train longer, or take another seed"
        )


def _means(scores: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    return {
        f"{axis}.{readout}": float(t.mean()) for axis, readouts in scores.items() for readout, t in readouts.items()
    }
