"""After the guard: trained on without it, taught the harm again, pushed towards it, trained at other ranks."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from despur.core import AddVector, Store, attach, read_json, write_json
from despur.core.model.states import is_adapted
from despur.flows._compare.arms import ARMS
from despur.flows._compare.bench import Bench
from despur.flows._compare.cell import Cell
from despur.flows._compare.runner import run_arm
from despur.flows._compare.worlds import open_world
from despur.flows.placement import Device
from despur.flows.progress import Progress, silent
from despur.measure import recovery

FILE = "stress.json"
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the run's steps, after which a curve is read
FEW = 64  # rows of another seed that the harm is taught again with
RANKS = (1, 2, 4, 16, 32)
MOST = 4.0  # push, in lengths of the trait's own vector


def run_stress(root: Path, cell: Cell, device: Device = "auto", *, progress: Progress = silent) -> Mapping[str, Any]:
    """Train a cell's model again, as it was, and run all four tests.

    Returns:
        `start`: task and drift before; `release`, `relearn`: steps and (task, drift) after each; `recovery`: push, the base's
        own, their ratio; `ladder`: rank -> (task, drift). Drift and task are shares of the naive run's.
    """
    world = open_world(cell.world, root)
    bench = Bench(root, world, cell.seed, steps=cell.steps, device=device, progress=progress)

    def make(out: Path) -> None:
        with bench.open:
            write_json(out / FILE, _stressed(bench, cell))

    spec = {**bench.spec, "arm": cell.arm, "setting": dict(cell.setting), "stress": [SHARES, FEW, RANKS, MOST]}
    return read_json(Store(root).step(cell.stress_folder, spec, make) / FILE)


def _stressed(bench: Bench, cell: Cell) -> dict[str, Any]:
    base, naive = (_means(bench, m) for m in (bench.fresh().eval(), bench.load(bench.naive)))

    def normalised(model: Any) -> tuple[float, float]:
        now = _means(bench, model)
        return tuple((now[a] - base[a]) / (naive[a] - base[a]) for a in ("task", "drift"))  # type: ignore[return-value]

    def trained() -> Any:
        model = run_arm(bench, ARMS[cell.arm], cell.setting)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name or not is_adapted(model))
        return model

    def curve(rows: Any) -> dict[str, list[Any]]:
        model, steps = trained(), [max(1, round(share * bench.settings.steps)) for share in SHARES]
        points = [normalised(model)]

        def look(model: Any, step: int) -> None:
            if step in steps:
                points.append(normalised(model))

        bench.train(start=model, rows=rows, steps=steps[-1], stage=f"after {cell.arm}", every=1, evaluate=look)
        return {"steps": [0, *steps], "points": points}

    rows = bench.tokens(seed=bench.seed + 900)
    found = {
        "start": normalised(trained()),
        "release": curve(rows),
        "relearn": curve(rows[:FEW]),
        "recovery": _recovery(bench, trained(), base["drift"], naive["drift"]),
    }
    own, ladder = bench.settings, {}
    for rank in RANKS:
        bench.settings = replace(own, rank=rank)  # of this run alone: what is shared was made at the bench's own rank
        model = bench.train(stage="naive") if cell.arm == "naive" else run_arm(bench, ARMS[cell.arm], cell.setting)
        ladder[str(rank)] = normalised(model)
    return {**found, "ladder": ladder}


def _recovery(bench: Bench, model: nn.Module, base_drift: float, naive_drift: float) -> dict[str, Any]:
    vector = bench.materials.get("vectors")

    def drift_of(model: nn.Module) -> Any:
        def drift(push: float) -> float:
            with attach(model, {site: AddVector(push * v) for site, v in vector.items()}):
                return _means(bench, model)["drift"]

        return drift

    found = recovery(
        drift_of(model), drift_of(bench.fresh().eval()), base_drift=base_drift, naive_drift=naive_drift, most=MOST
    )
    figures = {"push": found.push.value, "base_push": found.base_push.value, "ratio": found.ratio}
    return {**{k: v if math.isfinite(v) else None for k, v in figures.items()}, "why": found.push.reason}


def _means(bench: Bench, model: nn.Module) -> dict[str, float]:
    scores = bench.world.score(model)
    return {axis: float(next(iter(readouts.values())).double().mean()) for axis, readouts in scores.items()}
