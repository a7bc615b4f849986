"""A few arms of the comparison on one world and one seed, for a claim: made once, whoever asks."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from despur.core import Report, Store
from despur.core.claim import method_source, workspace
from despur.core.store import digest
from despur.flows._compare.arm import Arm, Setting, find_arm
from despur.flows._compare.arms import ARMS
from despur.flows._compare.bench import Bench
from despur.flows._compare.runner import made_for, run_arm
from despur.flows._compare.worlds import open_world
from despur.flows.scores import load_scores, save_scores
from despur.judge import area_of_one
from despur.worlds.world import Scores

try:
    import fcntl
except ImportError:  # Windows has none: there two claims may make what they share twice
    fcntl = None

STEPS = {
    "persona": 80,
    "persona_chat": 80,
    "slant": 120,
    "advice": 160,
}  # of the study of the log, so that figures can be compared


def try_arm(
    world: str,
    arm: str | Arm,
    setting: Setting,
    *,
    seed: int,
    root: Path | None = None,
    steps: int | None = None,
    bench: Bench | None = None,
) -> Scores:
    """Train and score one arm of the comparison, or load its scores.

    Args:
        world: Name of a planted world.
        arm: Name of a line of the comparison, or a line of your own.
        setting: Its options.
        seed: Of rows, LoRA start and guard.
        root: Folder in which runs are stored and found again; where claims share theirs if left out.
        steps: Optimiser steps; as in the study of the log if left out.
        bench: What runs of this world and seed share, where it is at hand.

    Returns:
        Axis -> readout -> one value a prompt.

    Raises:
        UnknownName: no such world or arm.

    Example:
        >>> # try_arm("persona", "grasp", {"side": "both"}, seed=0, root=Path("runs/claims"))["drift"]
    """
    line = find_arm(arm, ARMS) if isinstance(arm, str) else arm
    bench = bench or open_bench(world, seed=seed, root=root, steps=steps)
    root = root or workspace()
    source = digest(method_source(line.method)) if line.method else ""
    spec = {**bench.spec, "arm": repr(line), "setting": dict(setting), "source": source}

    name = f"trials/{world}-{seed}/{line.name}-{digest(spec)}"

    def make(out: Path) -> None:
        with _waiting(root / f"{world}-{seed}.lock"):  # what runs share is made by one process, and found by the others
            _ = bench.naive
            made = made_for(bench, line, setting) if line.method else None
        with bench.open:
            save_scores(bench.world.score(run_arm(bench, line, setting, made).eval()), out)

    with _waiting(root / f"{world}-{seed}-{digest(spec)}.lock"):
        return load_scores(Store(root).step(name, spec, make))


def open_bench(world: str, *, seed: int, root: Path | None = None, steps: int | None = None) -> Bench:
    """What several runs of one world and seed share.

    Args:
        world: Name of a planted world.
        seed: Of everything that is drawn.
        root: Folder in which runs are stored; where claims share theirs if left out.
        steps: Optimiser steps; as in the study of the log if left out.
    """
    root = root or workspace()
    return Bench(root, open_world(world, root), seed, steps=steps or STEPS.get(world))


def try_guard(
    world: str, arm: str | Arm, setting: Setting, *, against: str | Arm, seed: int, root: Path | None = None, at: Setting | None = None,
    steps: int | None = None, **spec: Any,
) -> Report:  # fmt: skip
    """Measure the part of the task that an arm learns without the drift, beside its control.

    Args:
        world: Name of a planted world.
        arm: The arm, by name or a line of your own.
        setting: Its options.
        against: The control.
        seed: Of everything that is drawn.
        root: Folder in which runs are stored and found again; where claims share theirs if left out.
        at: The control's options; the arm's own if left out.
        steps: Optimiser steps; as in the study of the log if left out.
        **spec: Joins the report's spec, as `bound=`.

    Returns:
        A report "area, WORLD": 0 for base and naive run, 1 for the ideal; its spec has task, drift and the constrained axes.
    """
    bench = open_bench(world, seed=seed, root=root, steps=steps)
    arms: Sequence[tuple[str | Arm, Setting]] = (
        ("base", {}), ("naive", {}), (arm, setting), (against, setting if at is None else at),
    )  # fmt: skip
    base, naive, own, other = (try_arm(world, a, s, seed=seed, root=root, steps=steps, bench=bench) for a, s in arms)
    named = against if isinstance(against, str) else against.name
    report = area_of_one(own, base=base, naive=naive, control=other, control_name=named)
    about = {**report.spec, "world": world, "seed": seed, "steps": bench.settings.steps, **spec}
    return replace(report, name=f"area, {world}", spec=about)


@contextlib.contextmanager
def _waiting(path: Path) -> Iterator[None]:
    """Let one process at a time into a block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
