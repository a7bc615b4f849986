"""A study as one page: which guard is best, by how much, against which baselines, and what papers claim."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from despur.flows._compare.aftermath import stress_blocks
from despur.flows._compare.claims import claims
from despur.flows._compare.plan import REFERENCES
from despur.flows._compare.study import Line, Study
from despur.flows.record import page_facts
from despur.judge import AREA, LOWER, attainment, axis_word, in_words
from despur.report import (
    Attainment,
    Band,
    Claims,
    League,
    Panel,
    Panels,
    Point,
    Standing,
    Table,
    Text,
    Verdict,
    write_page,
)

DRAWN = 6  # guards in a plot of lines: as many as colours can distinguish
NAN = math.nan
_BESIDE = "Drift at task, in shares of the naive run's, at the chosen settings."


def write_study_page(study: Study) -> None:
    """Write `report.html` into the study's folder."""
    plan = study.plan
    deviations = (
        [Table("Deviations from the registered plan", ["what"], [[d] for d in study.deviations])]
        if study.deviations
        else []
    )
    failed = (
        [Table("Runs that failed", ["run", "why"], [[k, v] for k, v in study.failed.items()])] if study.failed else []
    )
    published = claims(study)
    blocks: list[Any] = [
        _verdict(study),
        *failed,
        Text("How to read it", _reading(study)),
        League("All guards and controls", list(study.grids), _standings(study), plan.judged,
               "Bars: 95 % intervals, hierarchical bootstrap over seeds and prompts. Columns drift … validity: means over the worlds, at "
               "the setting chosen on tuning seeds. Cost: processor time in plain runs. p: the judged guard against this one, exact "
               "sign-flip test over seeds, all baselines jointly (max-T); the largest over the worlds.", _named(plan.metric)),
        Panels("Settings, weak to strong", [Panel(w, _frontiers(study, w)) for w in study.grids],
               f"Means over seeds; the best guards by {plan.metric}. Hollow: control. Grey: not accepted, {_void(study)}."),
        *(_attained(study, w) for w in study.grids),
        *([Claims("What papers claim, and what was measured here", published, _BESIDE)] if published else []),
        *stress_blocks(study.after),
        *(_details(study, w) for w in study.grids),
        *deviations,
    ]  # fmt: skip
    facts = page_facts(
        {**study.record, "plan": f"sha256 {plan.digest}", "processor time": f"{study.seconds / 60:.0f} minutes"}
    )
    write_page(study.page, title="despur compare", subtitle=", ".join(study.grids), blocks=blocks, facts=facts)


def _verdict(study: Study) -> Verdict:
    scores, metric = _means(study), study.plan.metric
    guards = {g: a for g, a in scores.items() if not _is_control(study, g)}
    if not guards:
        return Verdict("nothing yet", "no world has all of its runs yet", "unsure")
    best = max(guards, key=lambda g: guards[g])
    controls = {g: a for g, a in scores.items() if _is_control(study, g) and g not in REFERENCES}
    near = max(controls, key=lambda g: controls[g]) if controls else None
    beside = f"; the best control, {near}, {controls[near]:.2f}" if near else ""
    tone = "good" if guards[best] > 0.5 and (near is None or guards[best] > controls[near]) else "unsure"
    did = "dominates {:.2f} of the area" if metric == AREA else f"has a score of {{:.2f}} by {_named(metric)}"
    return Verdict(best, f"{did.format(guards[best])} on average{beside}", tone)


def _reading(study: Study) -> str:
    plan = study.plan
    sizes = sorted({len(settings) for g, settings in plan.guards.items() if g not in REFERENCES})
    planned = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    tuned = (
        f"Settings were chosen on seeds {_span(plan.tuning_seeds)} and the validation half of the prompts; the figures below are from "
        if plan.tuning_seeds
        else "No setting was tuned: the middle one of each guard is reported, from "
    )
    ranked = (
        "" if plan.metric == AREA else f" Guards are ranked and tested by {_named(plan.metric)}, at the chosen setting."
    )
    return (
        "Every guard saw the same rows in the same order, from the same start. The frozen base is (task 0, drift 0), the unguarded run "
        "(1, 1), the ideal (1, 0). A guard's area is what its settings dominate above (0, 1): base and naive run have 0, the ideal 1; a "
        f"setting counts for nothing where it has {_void(study)}.{ranked}\n\n{tuned}seeds "
        f"{_span(plan.report_seeds)} and the other half. An area grows with the number of settings: {planned} of each guard "
        "were planned, and how many were run is given with its figures below."
    )


def _standings(study: Study) -> list[Standing]:
    rows: list[Standing] = []
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
        ))  # fmt: skip
    return rows


def _frontiers(study: Study, world: str) -> list[tuple[str, list[Point]]]:
    grid = study.grids[world]
    out: list[tuple[str, list[Point]]] = []
    for guard in _drawn(study, world):
        points, accepted = grid.points(guard)
        control = _is_control(study, guard)
        out.append((guard, [
            Point(guard, float(t), float(q), (NAN, NAN), (NAN, NAN), control, bool(k)) for (t, q), k in zip(points, accepted, strict=True)
        ]))  # fmt: skip
    return out


def _attained(study: Study, world: str) -> Attainment:
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


def _details(study: Study, world: str) -> Table:
    lines, margins = _best_first(study, world), study.plan.margins
    rows = [
        [x.guard, x.area, *(x.axes[a] for a in ("task", "drift", "legitimate", "validity")), x.axes.get("conditional"),
         _text(x.setting), x.settings, x.above.get("difference"), x.above.get("low"), x.above.get("high"),
         *(x.kept.get(axis, {}).get("p") for axis in margins)]
        for x in lines
    ]  # fmt: skip
    header = [
        "guard", "area", "task", "drift", "legitimate", "validity", "conditional", "setting", "settings", "judged minus this", "low",
        "high", *(f"{axis_word(axis)} kept within {margin:g}, p" for axis, margin in margins.items()),
    ]  # fmt: skip
    screened = [f"{x.guard} ({x.screened.split(',')[0]})" for x in lines if x.screened]
    note = "conditional: drift where a prompt looks like the tuning data; settings: how many were run."
    if margins:
        note += " Kept within: two one-sided t-tests over the seeds, difference from the naive run; a large p demonstrates nothing."
    if screened:
        note += f" Clearly dominated on the tuning seeds, so run at one setting: {', '.join(screened)}."
    return Table(f"{world}, at the chosen settings", header, rows, note)


def _drawn(study: Study, world: str) -> list[str]:
    """The judged guard, its control, and the best others."""
    lines = _best_first(study, world)
    first = [study.plan.judged, f"{study.plan.judged}-permuted"]
    rest = [x.guard for x in lines if x.kind not in ("control", "reference")]
    there = {x.guard for x in lines}
    return [g for g in dict.fromkeys([*first, *rest]) if g in there][:DRAWN]


def _is_control(study: Study, guard: str) -> bool:
    return any(x.kind in ("control", "reference") for x in study.lines if x.guard == guard)


def _means(study: Study) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for line in study.lines:
        scores.setdefault(line.guard, []).append(_score(line, study.plan.metric)[0])
    return {g: float(np.mean(a)) for g, a in scores.items()}


def _score(line: Line, metric: str) -> tuple[float, float, float]:
    """The plan's metric with its interval, more always better: 1 minus the value for an axis where less is better."""
    if metric in LOWER:
        return 1 - line.score, 1 - line.score_high, 1 - line.score_low
    return line.score, line.score_low, line.score_high


def _named(metric: str) -> str:
    return f"1 - {metric}" if metric in LOWER else metric


def _best_first(study: Study, world: str) -> list[Line]:
    return sorted((x for x in study.lines if x.world == world), key=lambda x: -_score(x, study.plan.metric)[0])


def _void(study: Study) -> str:
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


def _span(seeds: tuple[int, ...]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
