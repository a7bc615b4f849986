"""One run of the comparison: a world, an arm, a setting, a seed; trained, scored, kept."""

import time
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from despur.core import Store, read_json, write_json
from despur.flows._progress import Progress, silent
from despur.flows.compare._arm import Setting
from despur.flows.compare._bench import Bench
from despur.worlds._world import Scores

TIMES = "seconds.json"


@dataclass(frozen=True)
class Cell:
    """What is run.

    Args:
        world: As `open_world` takes it.
        arm: Name in `ARMS`.
        setting: The arm's options.
        seed: Of rows, LoRA start and guard.
        steps: Optimiser steps; the world's own where None.
    """

    world: str
    arm: str
    setting: Setting
    seed: int
    steps: int | None = None

    @property
    def folder(self) -> str:
        """Where it lies in the study."""
        said = "_".join(f"{k}-{v:g}" if isinstance(v, float) else f"{k}-{v}" for k, v in self.setting.items())
        return f"cells/{self.world}/{self.arm}/{said or 'default'}/{self.seed}"

    def __str__(self) -> str:
        said = " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.setting.items())
        return f"{self.world} {self.arm} {said} #{self.seed}".replace("  ", " ")


def prepare_bench(root: Path, world: str, seed: int, steps: int | None, *, progress: Progress = silent) -> float:
    """Make what all runs of one world and seed share; gives the seconds it took, 0 where it was there."""
    from despur.flows.compare._worlds import open_world

    start = time.monotonic()
    Bench(root, open_world(world, root), seed, steps=steps, progress=progress).prepare()
    return time.monotonic() - start


def run_cell(root: Path, cell: Cell, *, progress: Progress = silent) -> float:
    """Train and score one cell, unless it is there.

    Returns:
        Seconds of processor time that the run took, when it was made.
    """
    from despur.flows.compare._arms import ARMS
    from despur.flows.compare._worlds import open_world

    world = open_world(cell.world, root)
    bench = Bench(root, world, cell.seed, steps=cell.steps, progress=progress)
    arm = ARMS[cell.arm]

    def make(out: Path) -> None:
        wall, start = time.monotonic(), time.process_time()
        with bench.open:
            model = arm.run(bench, **cell.setting)
            trained = time.process_time() - start
            save_scores(world.score(model.eval()), out)
        write_json(out / TIMES, {"process": trained, "wall": time.monotonic() - wall})

    folder = Store(root).step(cell.folder, {**bench.spec, "arm": cell.arm, "setting": dict(cell.setting)}, make)
    return float(read_json(folder / TIMES)["process"])


def is_done(root: Path, cell: Cell) -> bool:
    """Whether a cell's folder stands; what it was made with is compared when it is run."""
    return (root / cell.folder / TIMES).exists()


def seconds(root: Path, cell: Cell) -> float:
    return float(read_json(root / cell.folder / TIMES)["process"])


def save_scores(scores: Scores, out: Path) -> None:
    """Write scores; axes and readouts keep their order."""
    flat = [(axis, readout, t) for axis, readouts in scores.items() for readout, t in readouts.items()]
    # safetensors sorts names; the leading number keeps the order of axes and readouts
    save_file(
        {f"{i:02d}.{a}.{r}": t.float().contiguous() for i, (a, r, t) in enumerate(flat)}, out / "scores.safetensors"
    )


def load_scores(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Read scores back."""
    scores: dict[str, dict[str, Tensor]] = {}
    flat = load_file(folder / "scores.safetensors")
    for name in sorted(flat):
        _, axis, readout = name.split(".")
        scores.setdefault(axis, {})[readout] = flat[name]
    return scores
