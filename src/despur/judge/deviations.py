"""What a study did, beside what its plan had registered."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from despur.judge.prereg import REFERENCES, Options, Prereg, rules


@dataclass(frozen=True, slots=True)
class Done:
    """One run as it was in fact made.

    Args:
        world: Where.
        guard: With what.
        setting: Number of its setting.
        seed: Its seed.
        steps: Optimiser steps.
        options: Of the guard.
    """

    world: str
    guard: str
    setting: int
    seed: int
    steps: int
    options: Options = field(default_factory=dict)


def deviations(
    plan: Prereg, done: Iterable[Done], *, used: Mapping[str, Any] | None = None,
    without: Mapping[str, Mapping[str, Sequence[int]]] | None = None, excluded: Mapping[str, Mapping[int, str]] | None = None,
) -> list[str]:  # fmt: skip
    """Say where a comparison was done otherwise than planned; empty if nowhere.

    Args:
        plan: Fixed beforehand.
        done: Every run that was made.
        used: Fields of the plan as the analysis in fact used them (`metric`, `constraints`, `margins`, ...).
        without: World -> guard -> settings that the tuning seeds ruled out: not needed at the report seeds.
        excluded: World -> seeds left out of the analysis, with the reason.

    Returns:
        Sentences for a report.

    Example:
        >>> plan = Prereg(("w",), {"mine": ({"strength": 1.0},)}, (0,), (10,), {"w": 100})
        >>> deviations(plan, [Done("w", "mine", 0, s, 90 if s else 100, {"strength": 1.0}) for s in (0, 10)])
        ["'mine' in 'w' was trained for 90 steps, not 100 (seed 10)."]
    """
    made = {(d.world, d.guard, d.setting, d.seed): d for d in done}
    seeds = (*plan.tuning_seeds, *plan.report_seeds)
    out: dict[str, list[int]] = {}
    for world in plan.worlds:
        for guard, settings in plan.guards.items():
            ruled_out = (without or {}).get(world, {}).get(guard, ())
            for seed in seeds:
                for i in range(len(settings)):
                    needed = seed in plan.tuning_seeds or i not in ruled_out
                    if needed and (world, guard, i, seed) not in made:
                        out.setdefault(f"{guard!r} in {world!r} was not run at setting {i}", []).append(seed)
    for d in made.values():
        what = f"{d.guard!r} in {d.world!r}"
        settings = plan.guards.get(d.guard, ({},) if d.guard in REFERENCES else ())
        if d.world not in plan.worlds or d.seed not in seeds or d.setting >= len(settings):
            out.setdefault(f"{what} was run at setting {d.setting} without being planned", []).append(d.seed)
            continue
        if d.steps != plan.steps[d.world] and d.guard != "base":
            out.setdefault(f"{what} was trained for {d.steps} steps, not {plan.steps[d.world]}", []).append(d.seed)
        if _plain(d.options) != _plain(settings[d.setting]):
            sentence = (
                f"{what} had the options {_plain(d.options)} at setting {d.setting}, not {_plain(settings[d.setting])}"
            )
            out.setdefault(sentence, []).append(d.seed)
    sentences = [f"{text} (seed{'s' * (len(at) > 1)} {', '.join(map(str, at))})." for text, at in out.items()]
    planned = plan.to_dict()
    for name, value in (used or {}).items():
        if name not in planned:
            sentences.append(f"The analysis used {name} = {_plain(value)}, of which the plan knows nothing.")
        elif name == "exclusions" and rules(value) == rules(plan.exclusions):
            continue  # one rule can be written in several ways
        elif _plain(value) != _plain(planned[name]):
            sentences.append(f"The analysis used {name} = {_plain(value)}, planned was {_plain(planned[name])}.")
    for world, left in (excluded or {}).items():
        sentences += [f"Seed {seed} of {world!r} was left out: {reason}." for seed, reason in left.items()]
    return sentences


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list, ensure_ascii=False)
