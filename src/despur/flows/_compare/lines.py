"""The lines of a study's table: each guard's area, figures and tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from despur.flows._compare.arms import ARMS
from despur.flows._compare.cell import Cell
from despur.flows._compare.study import Line
from despur.judge import (
    NAIVE,
    Draws,
    Grid,
    Prereg,
    check_axis,
    difference,
    drift_at_task,
    interval,
    kept_within,
    task_at_drift,
    versus,
)


def lines_of(
    plan: Prereg, grid: Grid, draws: Draws, chosen: Mapping[str, Any], costs: Mapping[str, float]
) -> list[Line]:
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


def number(plan: Prereg, cell: Cell) -> int:
    return [dict(s) for s in plan.guards[cell.arm]].index(dict(cell.setting))
