"""What will be run and how it will be judged, fixed before it is run; and what was done otherwise."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from despur.core.errors import BadInput, nearest
from despur.judge.axes import KEPT
from despur.judge.resample import DRAWS
from despur.judge.runs import BASE, NAIVE

Options = Mapping[str, Any]
REFERENCES = (BASE, NAIVE)
KINDS: Mapping[str, type] = {
    "guards": dict, "steps": dict, "constraints": dict, "margins": dict, "judged": str, "metric": str, "draws": int,
}  # fmt: skip


@dataclass(frozen=True)
class Prereg:
    """A comparison before its first run; plain values only, so that it is a YAML file as it stands.

    Args:
        worlds: Where.
        guards: Guard or control -> its settings, weak to strong; `fewer` names those that have fewer than others.
        tuning_seeds: On which settings are chosen; empty where nothing is tuned.
        report_seeds: On which figures are reported.
        steps: World -> optimiser steps of every run.
        judged: The guard that is tested against the baselines.
        baselines: Against which, corrected for their number.
        metric: By which guards are ranked: `area`, or an axis.
        constraints: Axis -> least share of base under which a result counts nothing.
        margins: Axis -> difference within which "kept" or "the same" is claimed.
        exclusions: Rules by which a seed or run may be left out, in words.
        draws: Bootstrap draws.

    Raises:
        BadInput: a seed is used for both, a guard has no setting, a world no steps, or a name points nowhere.

    Example:
        >>> plan = Prereg(("w",), {"mine": ({"strength": 1.0},)}, (0, 1), (10, 11), {"w": 100})
        >>> Prereg.from_dict(plan.to_dict()).digest == plan.digest
        True
    """

    worlds: tuple[str, ...]
    guards: Mapping[str, tuple[Options, ...]]
    tuning_seeds: tuple[int, ...]
    report_seeds: tuple[int, ...]
    steps: Mapping[str, int]
    judged: str = ""
    baselines: tuple[str, ...] = ()
    metric: str = "area"
    constraints: Mapping[str, float] = field(default_factory=lambda: {"legitimate": KEPT, "validity": KEPT})
    margins: Mapping[str, float] = field(default_factory=lambda: {"task": 0.02})
    exclusions: tuple[str, ...] = ("a seed whose naive run shows no harm, for all guards",)
    draws: int = DRAWS

    def __post_init__(self) -> None:
        if both := sorted(set(self.tuning_seeds) & set(self.report_seeds)):
            raise BadInput(f"seeds {both} are for tuning and for the report; a seed is one or the other")
        if not (self.worlds and self.guards and self.report_seeds and all(self.guards.values())):
            raise BadInput(
                "a comparison needs a world, a report seed, and a guard with one setting or more; one of these is empty"
            )
        if lacking := [world for world in self.worlds if world not in self.steps]:
            raise BadInput(f"steps are not given for {', '.join(lacking)}; say how long every world trains")
        for name in (*self.baselines, *filter(None, [self.judged])):
            if name not in self.guards and name not in REFERENCES:
                raise BadInput(f"{name!r} is not among the guards{nearest(name, self.guards)}")

    @property
    def fewer(self) -> dict[str, int]:
        """Guards with fewer settings than others, and how many: an area grows with their number, so a report must say it."""
        counts = {name: len(settings) for name, settings in self.guards.items() if name not in REFERENCES}
        return {name: n for name, n in counts.items() if n < max(counts.values())}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for YAML or JSON."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Prereg":
        """Read what `to_dict` gave, or a user wrote.

        Raises:
            BadInput: a field is unknown, missing or of another kind.
        """
        known = {f.name: f for f in fields(cls)}
        for name in values:
            if name not in known:
                raise BadInput(
                    f"a comparison has no field {name!r}{nearest(str(name), known)}; there are {', '.join(known)}"
                )
        needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
        if lacking := [name for name in needed if name not in values]:
            raise BadInput(f"a comparison needs {', '.join(needed)}; {', '.join(lacking)} missing")
        read = {name: _read(name, value) for name, value in values.items()}
        return cls(**read)

    @property
    def digest(self) -> str:
        """The sha256 of the whole, the same on every machine and in whatever order mappings were written."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


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
            told = (
                f"{what} had the options {_plain(d.options)} at setting {d.setting}, not {_plain(settings[d.setting])}"
            )
            out.setdefault(told, []).append(d.seed)
    sentences = [f"{text} (seed{'s' * (len(at) > 1)} {', '.join(map(str, at))})." for text, at in out.items()]
    planned = plan.to_dict()
    for name, value in (used or {}).items():
        if name not in planned:
            sentences.append(f"The analysis used {name} = {_plain(value)}, of which the plan knows nothing.")
        elif _plain(value) != _plain(planned[name]):
            sentences.append(f"The analysis used {name} = {_plain(value)}, planned was {_plain(planned[name])}.")
    for world, left in (excluded or {}).items():
        sentences += [f"Seed {seed} of {world!r} was left out: {reason}." for seed, reason in left.items()]
    return sentences


def _read(name: str, value: Any) -> Any:
    """One field: lists become tuples, whatever has another kind is refused."""
    kind = KINDS.get(name, list)
    if not isinstance(value, (list, tuple) if kind is list else kind) or isinstance(value, bool):
        raise BadInput(f"field {name!r} of a comparison is {value!r}; it must be a {kind.__name__}")
    if name == "guards":
        if odd := [
            g
            for g, some in value.items()
            if not isinstance(some, list | tuple) or not all(isinstance(o, Mapping) for o in some)
        ]:
            raise BadInput(
                f"guard {odd[0]!r} of a comparison has settings {value[odd[0]]!r}; give a list of mappings of its options"
            )
        return {str(guard): tuple(dict(one) for one in settings) for guard, settings in value.items()}
    return tuple(value) if kind is list else value


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list, ensure_ascii=False)
