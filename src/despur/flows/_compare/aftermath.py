"""Tests of guarded models after training, as a table and curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from despur.core import read_json
from despur.flows._compare.cell import Cell
from despur.flows._compare.stress import FILE
from despur.judge import Prereg, by_seed, ladder, rise
from despur.report import Curves, Table

Found = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]  # world -> guard -> one record per seed
NAN = math.nan


def stress_cells(
    plan: Prereg, guards: Sequence[str], seeds: int, chosen: Mapping[str, Mapping[str, Any]]
) -> list[Cell]:
    """The runs that are tested: each guard at its chosen setting, on the first report seeds."""
    return [
        Cell(world, guard, dict(plan.guards[guard][chosen[world][guard]["setting"]]), seed, plan.steps[world])
        for world in plan.worlds
        for guard in guards
        for seed in plan.report_seeds[:seeds]
    ]


def read_stress(plan: Prereg, out: Path, chosen: Mapping[str, Mapping[str, Any]]) -> Found:
    """Every record that exists."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for cell in stress_cells(plan, list(plan.guards), len(plan.report_seeds), chosen):
        path = out / cell.stress_folder / FILE
        if path.exists():
            found.setdefault(cell.world, {}).setdefault(cell.arm, []).append(read_json(path))
    return found


def stress_blocks(found: Found) -> list[Any]:
    """A table and the curves of each world; nothing where nothing was tested."""
    blocks: list[Any] = []
    for world, guards in found.items():
        rows: list[list[Any]] = []
        for guard, seeds in guards.items():
            ratios = [
                by_seed(n, [_number(s.get(n, {}).get("ratio")) for s in seeds]).value for n in ("recovery", "around")
            ]
            ends = [[p[1] for p in s[which]["points"]][-1] for which in ("release", "relearn") for s in seeds]
            reached = [rise(s["release"]["steps"], [p[1] for p in s["release"]["points"]]).reached.value for s in seeds]
            ranks = [int(r) for r in seeds[0]["ladder"]]
            drifts = np.array([[s["ladder"][str(r)][1] for s in seeds] for r in ranks])
            rows.append(
                [guard, len(seeds), _mean(s["start"][1] for s in seeds), _mean(ends[: len(seeds)]), _mean(reached),
                 _mean(ends[len(seeds) :]), *ratios, *drifts.mean(1).tolist(), ladder(ranks, drifts).slope]
            )  # fmt: skip
        names = [f"drift at rank {r}" for r in next(iter(guards.values()))[0]["ladder"]]
        header = [
            "guard",
            "seeds",
            "drift",
            "released",
            "steps to half",
            "relearned",
            "recovery",
            "around",
            *names,
            "a doubling",
        ]
        note = (
            "released: drift after half as many steps again without the guard, on new rows of the harmful set; steps to half: when "
            "half of the naive run's drift was back; relearned: the same on 64 rows; recovery: push along the trait that brings half "
            "of the drift back, in units of the base's own; around: push that brings a quarter back, across the trait's vector, along "
            "the best direction that was found for each model; then the drift of the same run at other LoRA ranks."
        )
        blocks.append(Table(f"After the guard: {world}", header, rows, note))
        blocks.append(
            Curves(f"Released: {world}", "steps without the guard", "drift", [_line(g, s) for g, s in guards.items()])
        )
    return blocks


def _line(guard: str, seeds: Sequence[Mapping[str, Any]]) -> tuple[str, list[float], list[float]]:
    steps = [float(step) for step in seeds[0]["release"]["steps"]]
    return guard, steps, [_mean(s["release"]["points"][i][1] for s in seeds) for i in range(len(steps))]


def _number(value: float | None) -> float:
    return NAN if value is None else value


def _mean(values: Any) -> float:
    known = [v for v in values if math.isfinite(v)]
    return float(np.mean(known)) if known else NAN
