"""What a study's runs show: settings chosen on tuning seeds, the table on the report seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from despur.core import write_json
from despur.flows._compare.aftermath import read_stress
from despur.flows._compare.arms import ARMS
from despur.flows._compare.cell import Cell, is_done, seconds
from despur.flows._compare.lines import lines_of, number
from despur.flows._compare.plan import REFERENCES
from despur.flows._compare.saved import read_record
from despur.flows._compare.study import Chosen, Line, Study
from despur.flows.record import run_record
from despur.flows.scores import load_scores
from despur.judge import (
    NO_HARM,
    Choice,
    Done,
    Draws,
    Grid,
    Half,
    Prereg,
    Run,
    choose_setting,
    deviations,
    dominated,
    gather,
    outdone,
    resample,
)

FREE = 0.05  # of a plain run: what costs less is not worth screening out


def read_runs(plan: Prereg, out: Path, cells: Iterable[Cell]) -> list[Run]:
    """Scores of those cells that are done."""
    return [Run(c.world, c.arm, number(plan, c), c.seed, load_scores(out / c.folder)) for c in cells if is_done(out, c)]


def choose(plan: Prereg, out: Path, cells: Sequence[Cell]) -> Chosen:
    """Choose every guard's setting on the tuning seeds, and say which guards are clearly dominated there."""
    if not plan.tuning_seeds:
        return {w: {g: _middle(len(s)) for g, s in plan.guards.items()} for w in plan.worlds}
    chosen: Chosen = {}
    runs = read_runs(plan, out, cells)
    for world in plan.worlds:
        grid = _gather(plan, runs, world, plan.tuning_seeds, "validation")
        best = choose_setting(grid)
        apart = [g for g in plan.guards if ARMS[g].kind == "control"]
        spare = [g for g in plan.guards if g in REFERENCES or g == plan.judged or ARMS[g].cost <= FREE]
        draws = resample(grid, draws=min(plan.draws, 2000), metric=plan.metric)
        worse = dominated(draws, spare=spare, apart=apart, settings={g: c.setting for g, c in best.items()})
        # a control is needed at as many settings as its guard
        needed = {ARMS[g].control for g in plan.guards if g not in worse}
        worse = {g: why for g, why in worse.items() if g not in needed}
        less = outdone(grid)
        chosen[world] = {
            g: _choice(best.get(g), worse.get(g, ""), len(settings), less.get(g, ()))
            for g, settings in plan.guards.items()
        }
    return chosen


def judge(
    plan: Prereg, out: Path, tuning: Sequence[Cell], reported: Sequence[Cell], chosen: Chosen, failed: Mapping[str, str],
    notes: Sequence[str],
) -> Study:  # fmt: skip
    """Judge all finished runs, and write `results.json`, `results.parquet`, `prompts.parquet` and the page."""
    from despur.flows._compare.page import write_study_page
    from despur.flows._compare.parquet import write_tables

    runs = read_runs(plan, out, reported)
    grids, draws, lines = {}, {}, []
    for world in plan.worlds:
        there = {(r.guard, r.seed) for r in runs if r.world == world}
        if not any(all((g, seed) in there for g in REFERENCES) for seed in plan.report_seeds):
            continue  # nothing to judge by yet; the deviations list what was not run
        grids[world] = _gather(plan, runs, world, plan.report_seeds, "report")
        draws[world] = resample(grids[world], draws=plan.draws, metric=plan.metric)
        lines += lines_of(
            plan, grids[world], draws[world], chosen[world], _costs(out, [c for c in reported if c.world == world])
        )
    done = [
        Done(c.world, c.arm, number(plan, c), c.seed, c.steps or plan.steps[c.world], c.setting)
        for c in (*tuning, *reported)
        if is_done(out, c)
    ]
    departures = deviations(
        plan, done, used=_used(grids, draws, lines), without={w: {g: c["without"] for g, c in of.items()} for w, of in chosen.items()},
        excluded={w: grid.excluded for w, grid in grids.items()},
    )  # fmt: skip
    spent = sum((seconds(out, c) for c in (*tuning, *reported) if is_done(out, c)), 0.0)
    record = read_record(out) or run_record("compare", {"worlds": list(plan.worlds)})
    study = Study(
        plan,
        tuple(lines),
        grids,
        draws,
        chosen,
        read_stress(plan, out, chosen),
        failed,
        (*notes, *departures),
        spent,
        out,
        record,
    )
    # relative, so that the folder can be moved
    write_json(out / "results.json", {**study.to_dict(), "page": study.page.name})
    write_study_page(study)
    write_tables((*tuning, *reported), out, tuning=plan.tuning_seeds)
    return study


def _gather(plan: Prereg, runs: Sequence[Run], world: str, seeds: Sequence[int], which: Half) -> Grid:
    return gather(
        runs, world=world, seeds=seeds, which=which, fill=True, constraints=plan.constraints, no_harm=plan.no_harm
    )


def _used(grids: Mapping[str, Grid], draws: Mapping[str, Draws], lines: Sequence[Line]) -> dict[str, Any]:
    """What the analysis used, read from its results, so that it can be compared with the plan."""
    if not grids:
        return {}
    grid, drawn = next(iter(grids.values())), next(iter(draws.values()))
    margins = {axis: test["margin"] for line in lines for axis, test in line.kept.items()}
    return {
        "metric": drawn.metric,
        "constraints": dict(grid.constraints),
        "exclusions": [] if grid.no_harm is None else [{NO_HARM: grid.no_harm}],
        "draws": len(drawn.area),
        **({"margins": margins} if margins else {}),
    }


def _costs(out: Path, cells: Sequence[Cell]) -> dict[str, float]:
    """Guard -> mean processor time of its runs, in units of the cheapest plain training run."""
    times: dict[str, list[float]] = {}
    for cell in cells:
        if is_done(out, cell):
            times.setdefault(cell.arm, []).append(seconds(out, cell))
    plain = [np.mean(times[arm]) for arm in ("lower-rate", "lower-rank", "grasp") if arm in times]
    unit = float(plain[0]) if plain else float("nan")
    return {arm: float(np.mean(t)) / unit for arm, t in times.items()}


def _choice(choice: Choice | None, screened: str, settings: int, outdone: Sequence[int]) -> dict[str, Any]:
    if choice is None:
        choice_of_none = {"setting": 0, "area": None, "accepted": False, "reason": "no run of it ended"}
        return {**choice_of_none, "screened": "", "without": []}
    other = [i for i in range(settings) if i != choice.setting]
    return {
        **asdict(choice),
        "screened": screened,
        "without": other if screened else [i for i in outdone if i in other],
    }


def _middle(settings: int) -> dict[str, Any]:
    reason = "the middle of its settings: nothing was tuned" if settings > 1 else "its only setting"
    return {"setting": settings // 2, "area": None, "accepted": True, "reason": reason, "screened": "", "without": []}
