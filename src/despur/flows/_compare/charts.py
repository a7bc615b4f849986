"""Charts and tables of a study's page."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from despur.flows._compare.study import Line, Study
from despur.judge import LOWER, attainment, axis_word, in_words
from despur.report import (
    Attainment,
    Band,
    Point,
    Standing,
    Table,
)

DRAWN = 6  # guards in a plot of lines: as many as colours can distinguish


NAN = math.nan


def standings(study: Study) -> list[Standing]:
    rows: list[Standing] = []
    counts = any_counts(study)
    for guard in (g for g in study.plan.guards if g != "base"):
        lines = {x.world: x for x in study.lines if x.guard == guard}
        if not lines:
            continue
        some = list(lines.values())
        missing = (NAN, NAN, NAN)
        rows.append(Standing(
            guard, some[0].needs, [_score(lines[w], study.plan.metric) if w in lines else missing for w in study.grids],
            _mean([x.drift_at_task for x in some]), _mean([x.task_at_drift for x in some]), _mean([x.axes["legitimate"] for x in some]),
            _mean([x.axes["validity"] for x in some]), "; ".join(dict.fromkeys(_text(x.setting) for x in some)), min(x.seeds for x in some),
            _mean([x.cost for x in some]), max((x.above.get("p_joint", NAN) for x in some), default=NAN),
            some[0].kind in ("control", "reference"), any(x.accepted for x in some),
            *(() if counts else (_mean([x.axes["task"] for x in some]), _mean([x.axes["drift"] for x in some]))),
        ))  # fmt: skip
    return rows


def any_counts(study: Study) -> bool:
    """Whether a guard meets the plan's constraints, in any world."""
    return any(x.accepted for x in study.lines if not is_control(study, x.guard))


def frontiers(study: Study, world: str) -> list[tuple[str, list[Point]]]:
    grid = study.grids[world]
    out: list[tuple[str, list[Point]]] = []
    for guard in _drawn(study, world):
        points, accepted = grid.points(guard)
        control = is_control(study, guard)
        out.append((guard, [
            Point(guard, float(t), float(q), (NAN, NAN), (NAN, NAN), control, bool(k)) for (t, q), k in zip(points, accepted, strict=True)
        ]))  # fmt: skip
    return out


def attained(study: Study, world: str) -> Attainment:
    grid, bands = study.grids[world], []
    for guard in _drawn(study, world):
        sets = []
        for seed in grid.seeds:
            points, accepted = grid.points(guard, seed)
            sets.append(points[accepted])
        found = attainment(sets)
        bands.append(Band(guard, *(found[share] for share in sorted(found))))
    return Attainment(
        f"What the seeds attain: {world}", bands, "Line: half of the seeds; band: a quarter to three quarters."
    )


def details(study: Study, world: str) -> Table:
    lines, margins = _best_first(study, world), study.plan.margins
    rows = [
        [x.guard, x.area, *(x.axes[a] for a in ("task", "drift", "legitimate", "validity")), x.axes.get("conditional"), x.axes.get("free"),
         _text(x.setting), x.settings, x.above.get("difference"), x.above.get("low"), x.above.get("high"),
         *(x.kept.get(axis, {}).get("p") for axis in margins)]
        for x in lines
    ]  # fmt: skip
    header = [
        "guard", "area", "task", "drift", "legitimate", "validity", "conditional", "free", "setting", "settings", "judged minus this",
        "low", "high", *(f"{axis_word(axis)} kept within {margin:g}, p" for axis, margin in margins.items()),
    ]  # fmt: skip
    screened = [f"{x.guard} ({x.screened.split(',')[0]})" for x in lines if x.screened]
    note = "conditional: drift where a prompt looks like the tuning data; free: share of the plain run's whole answers from the question "
    note += "alone, where task may be a choice among given ones; settings: how many were run."
    if margins:
        note += " Kept within: two one-sided t-tests over the seeds, difference from the naive run; a large p demonstrates nothing."
    if screened:
        note += f" Clearly dominated on the tuning seeds, so run at one setting: {', '.join(screened)}."
    missing = "the judged guard itself, or no baseline of it; conditional, free: not scored in this world"
    return Table(f"{world}, at the chosen settings", header, rows, note, missing=missing)


def _drawn(study: Study, world: str) -> list[str]:
    """The judged guard, its control, and the best others by their mean over the worlds: the same in every chart."""
    first = [study.plan.judged, f"{study.plan.judged}-permuted"]
    score = means(study)
    rest = sorted(
        (g for g in score if not is_control(study, g)), key=lambda g: -score[g] if score[g] == score[g] else 1.0
    )
    chosen = [g for g in dict.fromkeys([*first, *rest]) if g in score][:DRAWN]
    there = {x.guard for x in study.lines if x.world == world}
    return [g for g in chosen if g in there]


def is_control(study: Study, guard: str) -> bool:
    return any(x.kind in ("control", "reference") for x in study.lines if x.guard == guard)


def means(study: Study) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for line in study.lines:
        scores.setdefault(line.guard, []).append(_score(line, study.plan.metric)[0])
    return {g: float(np.mean(a)) for g, a in scores.items()}


def _score(line: Line, metric: str) -> tuple[float, float, float]:
    """The plan's metric with its interval, more always better: 1 minus the value for an axis where less is better."""
    if metric in LOWER:
        return 1 - line.score, 1 - line.score_high, 1 - line.score_low
    return line.score, line.score_low, line.score_high


def named(metric: str) -> str:
    return f"1 - {metric}" if metric in LOWER else metric


def _best_first(study: Study, world: str) -> list[Line]:
    return sorted((x for x in study.lines if x.world == world), key=lambda x: -_score(x, study.plan.metric)[0])


def void(study: Study) -> str:
    """What makes a result count for nothing."""
    return (
        f"less than {in_words(study.plan.constraints)} of the base's"
        if study.plan.constraints
        else "no constraint to meet"
    )


def _mean(values: list[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return float(np.mean(known)) if known else NAN


def _text(setting: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in setting.items()) or "its only one"
    )


def span(seeds: tuple[int, ...]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
