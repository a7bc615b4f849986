"""Results of a study: settings chosen on tuning seeds, the table on the report seeds, and where it is stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from despur.core import read_json, write_json
from despur.flows._compare.aftermath import Found, read_stress
from despur.flows._compare.arms import ARMS
from despur.flows._compare.asked import RECORD
from despur.flows._compare.cell import Cell, is_done, seconds
from despur.flows._compare.plan import REFERENCES
from despur.flows.record import run_record
from despur.flows.scores import load_scores
from despur.judge import (
    NAIVE,
    NO_HARM,
    Choice,
    Done,
    Draws,
    Grid,
    Half,
    Prereg,
    Run,
    check_axis,
    choose_setting,
    deviations,
    difference,
    dominated,
    drift_at_task,
    gather,
    interval,
    kept_within,
    outdone,
    resample,
    task_at_drift,
    versus,
)

# world -> guard -> setting, area, accepted, reason, screened, and without (settings not run on the report seeds)
Chosen = dict[str, dict[str, dict[str, Any]]]

FREE = 0.05  # of a plain run: what costs less is not worth screening out


@dataclass(frozen=True)
class Line:
    """One guard in one world, on the report seeds and the report half of the prompts.

    Args:
        world: Name of the world.
        guard: Name of the guard.
        kind: See `Arm`.
        needs: What it needs besides base and rows.
        area: Dominated area, mean over seeds, with its 95 % interval.
        low: Lower end of the interval.
        high: Upper end of the interval.
        score: The plan's metric, by which guards are ranked and tested, with its interval; the area again where it is that.
        score_low: Lower end of the interval.
        score_high: Upper end of the interval.
        above: Score of the judged guard minus this one's, interval, p alone, jointly and by Holm; empty where it is no baseline.
        kept: Axis of the plan's margins -> mean difference from the naive run, margin, and p of lying within it (`kept_within`).
        setting: The chosen one's options.
        axes: Axis -> mean at the chosen setting.
        drift_at_task: Drift where 98 % of the task is learned, interpolated; NaN where it is never learned.
        task_at_drift: Task where a fifth of the drift is picked up.
        settings: Number of settings that were run.
        seeds: Number of seeds that count.
        cost: Processor time of a run, in plain runs of the same world.
        screened: Why only one setting was run on the report seeds; "" where all were.
        accepted: Whether the plan's constraints are met at the chosen setting.
    """

    world: str
    guard: str
    kind: str
    needs: str
    area: float
    low: float
    high: float
    setting: Mapping[str, Any]
    axes: Mapping[str, float]
    drift_at_task: float
    task_at_drift: float
    settings: int
    seeds: int
    cost: float
    screened: str = ""
    accepted: bool = True
    above: Mapping[str, float] = field(default_factory=dict)
    score: float = float("nan")
    score_low: float = float("nan")
    score_high: float = float("nan")
    kept: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A comparison that was run, whole or in part.

    Args:
        plan: The registered plan.
        lines: One per world and guard, in the order of the plan.
        grids: World -> the arrays behind them.
        draws: World -> bootstrap draws behind the intervals.
        chosen: World -> guard -> setting and why.
        after: World -> guard -> results of the tests after training, one record per seed; see `run_stress`.
        failed: Run -> why.
        deviations: Deviations from the plan.
        seconds: Processor time of all runs together.
        folder: Folder of the study.
        record: Verb, arguments and versions.
    """

    plan: Prereg
    lines: tuple[Line, ...]
    grids: Mapping[str, Grid]
    draws: Mapping[str, Draws]
    chosen: Chosen
    after: Found
    failed: Mapping[str, str]
    deviations: tuple[str, ...]
    seconds: float
    folder: Path
    record: Mapping[str, Any]

    @property
    def page(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes null."""
        return {
            **self.record,
            "plan": self.plan.to_dict(),
            "plan_digest": self.plan.digest,
            "lines": [_plain(asdict(line)) for line in self.lines],
            "chosen": _plain(self.chosen),
            "after": self.after,
            "failed": dict(self.failed),
            "deviations": list(self.deviations),
            "seconds": self.seconds,
            "page": str(self.page),
        }


def read_runs(plan: Prereg, out: Path, cells: Iterable[Cell]) -> list[Run]:
    """Scores of those cells that are done."""
    return [
        Run(c.world, c.arm, _number(plan, c), c.seed, load_scores(out / c.folder)) for c in cells if is_done(out, c)
    ]


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
        lines += _lines(
            plan, grids[world], draws[world], chosen[world], _costs(out, [c for c in reported if c.world == world])
        )
    done = [
        Done(c.world, c.arm, _number(plan, c), c.seed, c.steps or plan.steps[c.world], c.setting)
        for c in (*tuning, *reported)
        if is_done(out, c)
    ]
    departures = deviations(
        plan, done, used=_used(grids, draws, lines), without={w: {g: c["without"] for g, c in of.items()} for w, of in chosen.items()},
        excluded={w: grid.excluded for w, grid in grids.items()},
    )  # fmt: skip
    spent = sum(seconds(out, c) for c in (*tuning, *reported) if is_done(out, c))
    record = (
        read_json(out / RECORD) if (out / RECORD).exists() else run_record("compare", {"worlds": list(plan.worlds)})
    )
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
    write_tables((*tuning, *reported), out, tuning=plan.tuning_seeds)
    write_json(
        out / "results.json", {**study.to_dict(), "page": study.page.name}
    )  # relative, so that the folder can be moved
    write_study_page(study)
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


def _lines(plan: Prereg, grid: Grid, draws: Draws, chosen: Mapping[str, Any], costs: Mapping[str, float]) -> list[Line]:
    settings = {g: draws.ran(g, chosen[g]["setting"]) for g in grid.guards}
    scores = grid.scores(plan.metric, settings)
    judged = plan.judged if plan.judged in scores else ""
    against = [b for b in plan.baselines if b in scores and b != judged]
    tests = versus(scores, judged, against) if judged and len(grid.seeds) > 1 else {}
    lines: list[Line] = []
    for guard in (g for g in plan.guards if g in grid.guards):
        choice, arm = chosen[guard], ARMS[guard]
        at = {number: column for column in grid.of(guard) for _, number in [grid.columns[column]]}
        column = at[settings[guard]]
        area, drawn = draws.of("area", guard)
        low, high = interval(drawn, units=draws.seeds)
        score, drawn = draws.of(draws.figure, guard, settings[guard])
        points, accepted = grid.points(guard)
        above: dict[str, float] = {}
        if guard in tests:
            gap = difference(
                draws, judged, guard, what=draws.figure, setting=settings[judged], baseline_setting=settings[guard]
            )
            above = {
                "difference": gap.value,
                "low": gap.low,
                "high": gap.high,
                "p": tests[guard].p,
                "p_joint": tests[guard].p_joint,
                "p_holm": tests[guard].p_holm,
            }
        lines.append(
            Line(
                grid.world, guard, arm.kind, arm.needs, area, low, high, dict(plan.guards[guard][grid.columns[column][1]]),
                {axis: float(v[column].mean()) for axis, v in grid.axes.items()},
                drift_at_task(points, kept=accepted).value, task_at_drift(points, kept=accepted).value, len(at), len(grid.seeds),
                costs.get(guard, float("nan")), choice["screened"], bool(accepted[list(at.values()).index(column)]), above,
                score, *interval(drawn, units=draws.seeds), {} if guard == NAIVE else _margin_tests(plan, grid, column),
            )
        )  # fmt: skip
    return lines


def _margin_tests(plan: Prereg, grid: Grid, column: int) -> dict[str, dict[str, float]]:
    """Test whether each axis with a margin lies within it of the naive run's, paired by seed."""
    naive = grid.column(NAIVE, 0)
    out: dict[str, dict[str, float]] = {}
    for axis, margin in plan.margins.items():
        check_axis(axis, grid.axes)
        gaps = grid.axes[axis][column] - grid.axes[axis][naive]
        p = (
            kept_within(gaps, margin) if np.isfinite(gaps).all() else 1.0
        )  # with a failed run nothing can be demonstrated
        out[axis] = {"difference": float(gaps.mean()), "margin": margin, "p": p}
    return out


def _costs(out: Path, cells: Sequence[Cell]) -> dict[str, float]:
    """Guard -> mean processor time of its runs, in units of the cheapest plain training run."""
    times: dict[str, list[float]] = {}
    for cell in cells:
        if is_done(out, cell):
            times.setdefault(cell.arm, []).append(seconds(out, cell))
    plain = [np.mean(times[arm]) for arm in ("lower-rate", "lower-rank", "grasp") if arm in times]
    unit = float(plain[0]) if plain else float("nan")
    return {arm: float(np.mean(t)) / unit for arm, t in times.items()}


def _number(plan: Prereg, cell: Cell) -> int:
    return [dict(s) for s in plan.guards[cell.arm]].index(dict(cell.setting))


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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
