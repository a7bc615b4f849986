"""A study as one page: which guard is best, by how much, against which baselines, and what papers claim."""

import math
from collections.abc import Sequence
from typing import Any

from despur.flows._compare.aftermath import stress_blocks
from despur.flows._compare.arms import ARMS
from despur.flows._compare.charts import (
    any_counts,
    attained,
    details,
    frontiers,
    is_control,
    means,
    named,
    span,
    standings,
    void,
)
from despur.flows._compare.claims import claims
from despur.flows._compare.guide import arm_lines, world_lines
from despur.flows._compare.plan import REFERENCES
from despur.flows._compare.study import Line, Study
from despur.flows.run_page import write_run_page
from despur.judge import AREA, axis_word
from despur.report import (
    Claims,
    League,
    Omitted,
    Panel,
    Panels,
    Table,
    Text,
    Verdict,
)

FEW = 6  # seeds, under which an exact test over them shows nothing
_BESIDE = "Drift at task, in shares of the naive run's, at the chosen settings."


def write_study_page(study: Study) -> None:
    """Write `report.html` into the study's folder."""
    record = {
        **study.record,
        "plan": f"sha256 {study.plan.digest}",
        "processor time": f"{study.seconds / 60:.0f} minutes",
    }
    write_run_page(
        study.page, record, title="despur compare", subtitle=", ".join(study.grids), blocks=study_blocks(study)
    )


def study_blocks(study: Study) -> list[Any]:
    """The page's blocks: the verdict, the league, what is compared, the charts."""
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
    return [
        _verdict(study),
        *failed,
        League("All guards and controls", list(study.grids), standings(study), plan.judged,
               "Bars: 95 % intervals, hierarchical bootstrap over seeds and prompts. Columns drift … validity: means over the worlds, at "
               "the setting chosen on tuning seeds. Cost: processor time in plain runs. p: the judged guard against this one, exact "
               "sign-flip test over seeds, all baselines jointly (max-T); the largest over the worlds.", named(plan.metric)),
        Text("How to read it", _reading(study)),
        Table("The worlds", ["world", "what hides in it"], world_lines(study.grids)),
        Table("The guards and controls", ["name", "kind", "what it does"], arm_lines(dict.fromkeys(x.guard for x in study.lines))),
        Panels("Settings, weak to strong", [Panel(w, frontiers(study, w)) for w in study.grids],
               f"Means over seeds; the best guards by {plan.metric}. Hollow: control. Grey: not accepted, {void(study)}."),
        *(attained(study, w) for w in study.grids),
        *([Claims("What papers claim, and what was measured here", published, _BESIDE)] if published else []),
        *stress_blocks(study.after),
        *(details(study, w) for w in study.grids),
        *deviations,
        Omitted(_omitted(study)),
    ]  # fmt: skip


def _omitted(study: Study) -> list[tuple[str, str]]:
    missing = [w for w in study.plan.worlds if w not in study.grids]
    out = [
        ("what the models say", "a comparison scores answers and does not write any; despur demo and despur audit do")
    ]
    if missing:
        out.append((f"worlds: {', '.join(missing)}", "the runs of base and naive are not there yet"))
    if not study.after:
        out.append(("what is left after training without the guard", "not asked for (--stress)"))
    return out


def _verdict(study: Study) -> Verdict:
    scores, metric = means(study), study.plan.metric
    guards = {g: a for g, a in scores.items() if not is_control(study, g)}
    if not guards:
        return Verdict("nothing yet", "no world has all of its runs yet", "unsure")
    if not any_counts(study):
        return _none_counts(study, list(guards))
    best = max(guards, key=lambda g: guards[g])
    controls = {g: a for g, a in scores.items() if is_control(study, g) and g not in REFERENCES}
    near = max(controls, key=lambda g: controls[g]) if controls else None
    beside = f"; the best control, {near}, {controls[near]:.2f}" if near else ""
    ahead = guards[best] > 0.5 and (near is None or guards[best] > controls[near])
    tone = "good" if ahead and _seeds(study, best) >= FEW else "unsure"
    did = "dominates {:.2f} of the area" if metric == AREA else f"has a score of {{:.2f}} by {named(metric)}"
    return Verdict(best, f"it {did.format(guards[best])} on average{beside}", tone, _beside(study, best))


def _none_counts(study: Study, guards: Sequence[str]) -> Verdict:
    """The verdict where every guard breaks the plan's constraints, and what else does."""
    least = study.plan.constraints

    def kept(line: Line) -> float:
        return min(line.axes[axis] / share for axis, share in least.items())

    near = max((x for x in study.lines if x.guard in guards), key=kept)
    figures = ", ".join(f"{axis_word(axis)} {near.axes[axis]:.2f}" for axis in least)
    twins = dict.fromkeys(
        x.guard for x in study.lines if ARMS[x.guard].adapter in ("neutral", "benign") and not x.accepted
    )
    also = f". So has {' and '.join(twins)}: without the factor such rows cost it, too" if twins else ""
    sentence = f"each has {void(study)}; nearest: {near.guard}, {figures}{also}"
    return Verdict("no guard counts", sentence, "unsure", _beside(study, near.guard))


def _beside(study: Study, best: str) -> list[tuple[str, str]]:
    plan, judged = study.plan, study.plan.judged
    seeds = _seeds(study, best)
    p = [x.above["p_joint"] for x in study.lines if x.above.get("p_joint", math.nan) == x.above.get("p_joint")]
    sure = f"{seeds} seeds in {len(study.grids)} world{'s' * (len(study.grids) != 1)}."
    if p:
        sure += f" {judged} is judged against every baseline: the largest p is {max(p):.2g}, exact sign flips over seeds, jointly."
    if seeds < FEW:
        sure += (
            f" With {seeds} seeds no p can be under {0.5 ** (seeds - 1):.2g}, which proves nothing: take more --seeds."
        )
    controls = [g for g in plan.guards if is_control(study, g) and g not in REFERENCES]
    control = (
        f"{', '.join(controls)}: the same methods on materials that should not work."
        if controls
        else "No control was run."
    )
    return [("How sure", sure), ("Against which control", control)]


def _seeds(study: Study, guard: str) -> int:
    return min((x.seeds for x in study.lines if x.guard == guard), default=0)


def _reading(study: Study) -> str:
    plan = study.plan
    sizes = sorted({len(settings) for g, settings in plan.guards.items() if g not in REFERENCES})
    planned = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    tuned = (
        f"Settings were chosen on seeds {span(plan.tuning_seeds)} and the validation half of the prompts; the figures below are from "
        if plan.tuning_seeds
        else "No setting was tuned: the middle one of each guard is reported, from "
    )
    ranked = (
        "" if plan.metric == AREA else f" Guards are ranked and tested by {named(plan.metric)}, at the chosen setting."
    )
    return (
        "Every guard saw the same rows in the same order, from the same start. The frozen base is (task 0, drift 0), the unguarded run "
        "(1, 1), the ideal (1, 0). A guard's area is what its settings dominate above (0, 1): base and naive run have 0, the ideal 1; a "
        f"setting counts for nothing where it has {void(study)}.{ranked}\n\n{tuned}seeds "
        f"{span(plan.report_seeds)} and the other half. An area grows with the number of settings: {planned} of each guard "
        "were planned, and how many were run is given with its figures below."
    )
