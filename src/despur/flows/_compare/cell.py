"""One run of the comparison: a world, an arm, a setting, a seed; trained, scored, saved."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from despur.core import Store, read_json, write_json
from despur.core.disk.new_folder import DONE
from despur.core.errors import BadInput
from despur.core.store import is_whole
from despur.flows._compare.arm import Setting, setting_text
from despur.flows._compare.bench import Bench
from despur.flows.placement import Device
from despur.flows.progress import Progress, silent
from despur.flows.scores import save_scores

TIMES = "seconds.json"


@dataclass(frozen=True)
class Cell:
    """What is run.

    Args:
        world: Name, as `open_world` takes it.
        arm: Name in `ARMS`.
        setting: The arm's options.
        seed: Seed of rows, LoRA start and guard.
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
        return f"cells/{self.world}/{self.arm}/{setting_text(self.setting)}/{self.seed}"

    @property
    def stress_folder(self) -> str:
        """Where the results of the tests after training lie."""
        return self.folder.replace("cells/", "stress/", 1)

    def __str__(self) -> str:
        setting = " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.setting.items())
        return f"{self.world} {self.arm} {setting} #{self.seed}".replace("  ", " ")


def prepare_bench(
    root: Path, world: str, seed: int, steps: int | None, lines: Sequence[tuple[str, Setting]], device: Device = "auto", *,
    progress: Progress = silent,
) -> None:  # fmt: skip
    """Make what runs of some lines, in one world and of one seed, share, so that parallel ones only read it."""
    from despur.flows._compare.arms import ARMS
    from despur.flows._compare.worlds import open_world

    bench = Bench(root, open_world(world, root), seed, steps=steps, device=device, progress=progress)
    _ = bench.naive
    for arm, setting in ((ARMS[name], setting) for name, setting in lines):
        if arm.adapter in bench.twins:
            bench.twin(arm.adapter)  # type: ignore[arg-type]
        for name in filter(bench.materials.has, arm.made_of(setting)):
            bench.materials.get(name)
        if "rounds" in setting:
            bench.materials.get("weight_factor")


def run_cell(root: Path, cell: Cell, device: Device = "auto", *, progress: Progress = silent) -> None:
    """Train and score one cell, unless it is there."""
    from despur.flows._compare.arms import ARMS
    from despur.flows._compare.runner import made_for, run_arm

    bench = _bench(root, cell.world, cell.seed, cell.steps, device)
    bench.progress, arm = progress, ARMS[cell.arm]

    def make(out: Path) -> None:
        wall, start = time.monotonic(), time.process_time()
        with bench.open:
            made = made_for(bench, arm, cell.setting) if arm.method else None
            model = run_arm(bench, arm, cell.setting, made)
            trained = time.process_time() - start
            save_scores(bench.world.score(model.eval()), out)
        if spec := getattr(made, "spec", None):
            write_json(out / DONE, {"made": spec.to_dict()})
        write_json(out / TIMES, {"process": trained, "wall": time.monotonic() - wall})

    Store(root).step(cell.folder, {**bench.spec, "arm": cell.arm, "setting": dict(cell.setting)}, make)


@lru_cache(maxsize=4)  # a worker meets the same few again and again, and rows cost as much as a quarter of a short run
def _bench(root: Path, world: str, seed: int, steps: int | None, device: Device) -> Bench:
    from despur.flows._compare.worlds import open_world

    return Bench(root, open_world(world, root), seed, steps=steps, device=device)


def is_done(root: Path, cell: Cell) -> bool:
    """Whether a cell's folder exists, of a run with as many steps; all else that it depends on is compared when it is run."""
    try:
        record: Any = read_json(root / cell.folder / DONE)
    except BadInput:  # missing or damaged
        return False
    right = isinstance(record, dict) and cell.steps in (None, record.get("steps"))
    return right and is_whole(root / cell.folder, record)


def seconds(root: Path, cell: Cell) -> float:
    """Processor time that a finished cell's training took.

    Raises:
        BadInput: its file is damaged.
    """
    try:
        return float(read_json(root / cell.folder / TIMES)["process"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{str(root / cell.folder / TIMES)!r} is damaged. Remove its folder, and start again") from error
