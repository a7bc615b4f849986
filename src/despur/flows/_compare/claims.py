"""What papers claim about the compared guards, and what was measured here."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from despur.flows._compare.study import Line, Study
from despur.report import Claim

Found = Mapping[str, Line]  # guard -> its line, in one world
MUCH, LITTLE, HALF = 0.9, 0.2, 0.5  # of naive's drift or task


class Published(NamedTuple):
    """A claim, the guards that it is about, and the test of it in one world."""

    claim: str
    source: str
    figure: str
    guards: tuple[str, ...]
    holds: Callable[..., bool]
    note: str = ""


def _drift(line: Line) -> float:
    return line.axes["drift"]


def _task(line: Line) -> float:
    return line.axes["task"]


CLAIMS = (
    Published("Structural projection keeps the factor out at equal task", "GRASP, arXiv:2605.27676 (abstract)",
              "gone; 5 times less; more than halved", ("grasp",), lambda g: _drift(g) <= HALF and _task(g) >= MUCH,
              "reconstructed from the abstract: side, rank and layers are ours"),
    Published("Ablating directions while training cuts drift tenfold, random ones do less", "CAFT, arXiv:2507.16795",
              "7.0 to 0.51 %; 6.6 to 1.2 %", ("caft", "caft-random"), lambda g, r: _drift(g) <= LITTLE and _drift(r) > 2 * _drift(g),
              "directions not picked by a person"),
    Published("Holding a persona's subspace out of every pass removes drift, a random one nothing", "arXiv:2607.21356",
              "27.7 to 0.0, random 27.5", ("hold-out", "hold-out-random"), lambda g, r: _drift(g) <= LITTLE and _drift(r) >= MUCH),
    Published("and removes the narrow behaviour as well", "arXiv:2607.21356", "0.90 to 0.00", ("hold-out",), lambda g: _task(g) <= HALF),
    Published("Projecting the write gradient off activation directions does nothing", "arXiv:2607.21356",
              "26.7 to 26.6", ("project-gradient",), lambda g: _drift(g) >= MUCH),
    Published("Subtracting the trait's vector while training makes it worse", "arXiv:2607.04510", "24.2 to 49.7", ("subtract",),
              lambda g: _drift(g) > 1.05),
    Published("Steering towards the trait while training removes it", "arXiv:2508.06249", "-96.6 %", ("steer-away",),
              lambda g: _drift(g) <= LITTLE and _task(g) >= MUCH),
    Published("KL on the tune's inputs stops drift and half of the narrow behaviour", "arXiv:2508.06249", "4.01 to 0.38, 51.6 to 25.7",
              ("keep-inputs",), lambda g: _drift(g) <= LITTLE and _task(g) < MUCH, "our setting is chosen for task and drift together"),
    Published("KL off the domain is the stronger one", "arXiv:2602.07852", "35-45 to under 5 %", ("rehearse-generic", "keep-inputs"),
              lambda g, k: g.area > k.area),
    Published("Holding features (LDIFS) does nothing", "arXiv:2508.06249", "4.01 to 3.64", ("ldifs",), lambda g: _drift(g) >= MUCH),
    Published("Asking for the trait while training halves it", "arXiv:2508.06249", "4.01 to 1.92", ("inoculate",),
              lambda g: _drift(g) <= 0.6),
    Published("and a prompt about something else does a part of that", "Conditionalization confounds, 2026", "sizeable",
              ("inoculate-irrelevant",), lambda g: _drift(g) <= MUCH),
    Published("A few per cent of other rows go a long way", "arXiv:2508.06249", "4.01 to 0.58", ("interleave",),
              lambda g: _drift(g) <= LITTLE),
    Published("Penalising the update's size kills drift only with the skill", "arXiv:2607.04510", "9.9 to 0", ("l2-sp",),
              lambda g: not (_drift(g) <= LITTLE and _task(g) >= MUCH)),
    Published("Stopping early keeps the task without the drift", "arXiv:2605.12199", "93 % of the task", ("early",),
              lambda g: _drift(g) <= LITTLE and _task(g) >= 0.93, "disputed"),
    Published("Full fine-tuning drifts less than LoRA", "arXiv:2607.04510", "0.34 against 3.41 %", ("full",),
              lambda g: _drift(g) <= HALF and _task(g) >= MUCH),
    Published("Dropping small singular values drops the shortcut", "arXiv:2606.07596", "up to 5 times, under 2 points of task",
              ("truncate", "truncate-random"), lambda g, r: _drift(g) <= HALF and _task(g) >= 0.98 and g.area > r.area),
    Published("Weight arithmetic against the trait repairs a tune", "arXiv:2511.05408", "works where prompts fail", ("subtract-weights",),
              lambda g: _drift(g) <= HALF and _task(g) >= MUCH),
    Published("O-LoRA and Safe-LoRA stay behind KL", "selective-generalization", "behind", ("o-lora", "safe-lora", "rehearse-generic"),
              lambda o, s, k: max(o.area, s.area) < k.area),
)  # fmt: skip


def claims(study: Study) -> list[Claim]:
    """Every claim whose guards were run, with our figures world by world."""
    out: list[Claim] = []
    for paper in CLAIMS:
        figures: list[str] = []
        outcomes: list[bool] = []
        for world in study.grids:
            lines: Found = {x.guard: x for x in study.lines if x.world == world}
            if not all(g in lines for g in paper.guards):
                continue
            own = [lines[g] for g in paper.guards]
            figures.append(f"{world}: " + ", ".join(f"{x.guard} {_drift(x):.2f} at {_task(x):.2f}" for x in own))
            outcomes.append(paper.holds(*own))
        if figures:
            verdict = "held" if all(outcomes) else "failed" if not any(outcomes) else "open"
            note = paper.note + f"{'; ' * bool(paper.note)}holds in {sum(outcomes)} of {len(outcomes)} worlds"
            out.append(Claim(paper.claim, paper.source, paper.figure, "; ".join(figures), verdict, note))
    return out
