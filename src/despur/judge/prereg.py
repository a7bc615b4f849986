"""What will be run and how it will be judged, fixed before it is run; and what was done otherwise."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from despur.core.errors import BadInput, nearest
from despur.judge.axes import AREA, CONSTRAINTS, MIN_HARM, SHARES, SPANNED
from despur.judge.resample import DRAWS
from despur.judge.runs import BASE, NAIVE

Options = Mapping[str, Any]
REFERENCES = (BASE, NAIVE)
NO_HARM = "no-harm"  # the rule by which a seed is left out for all guards: its naive run drifts by less than this
NO_HARM_SENTENCE = "a seed whose naive run shows no harm, for all guards"  # as plans have always written it
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
        metric: By which guards are ranked and tested: `area`, or an axis, at the chosen settings.
        constraints: Axis -> least share of base under which a result counts nothing.
        margins: Axis -> difference from the naive run within which "kept" is claimed, and tested.
        exclusions: Rules by which a seed is left out, for all guards: `no-harm`, `{"no-harm": 0.1}` with the least harm of
            its naive run, or the sentence that stands by default, which means `no-harm`. Whatever no code applies is refused.
        draws: Bootstrap draws.

    Raises:
        BadInput: a seed is used for both, a guard has no setting, a world no steps, a name points nowhere, or a rule is one
            that no code applies.

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
    metric: str = AREA
    constraints: Mapping[str, float] = field(default_factory=lambda: dict(CONSTRAINTS))
    margins: Mapping[str, float] = field(default_factory=lambda: {"task": 0.02})
    exclusions: tuple[str | Mapping[str, float], ...] = (NO_HARM_SENTENCE,)
    draws: int = DRAWS

    def __post_init__(self) -> None:
        if both := sorted(set(self.tuning_seeds) & set(self.report_seeds)):
            raise BadInput(f"seeds {both} are for tuning and for the report; a seed is one or the other")
        if not (self.worlds and self.guards and self.report_seeds and all(self.guards.values())):
            raise BadInput(
                "a comparison needs a world, a report seed, and a guard with one setting or more; one of these is empty"
            )
        if lacking := [world for world in self.worlds if world not in self.steps]:
            raise BadInput(f"steps are not given for {', '.join(lacking)}; give the number of steps of every world")
        for name in (*self.baselines, *filter(None, [self.judged])):
            if name not in self.guards and name not in REFERENCES:
                raise BadInput(f"{name!r} is not among the guards{nearest(name, self.guards)}")
        known = {"metric": (AREA, *SPANNED, *SHARES), "constraints": SHARES, "margins": (*SPANNED, *SHARES)}
        for field_name, axes in known.items():
            value = getattr(self, field_name)
            for axis in [value] if isinstance(value, str) else value:
                if axis not in axes:
                    raise BadInput(
                        f"{field_name} of a comparison names {axis!r}{nearest(str(axis), axes)}; it can be {', '.join(axes)}"
                    )
        for field_name in ("constraints", "margins"):
            _check_numbers(field_name, getattr(self, field_name))
        rules(self.exclusions)

    @property
    def no_harm(self) -> float | None:
        """Harm of the naive run under which a seed is left out; None where the plan has no such rule."""
        return rules(self.exclusions).get(NO_HARM)

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


def rules(exclusions: Sequence[Any]) -> dict[str, float]:
    """Exclusions as code applies them: rule -> threshold.

    Raises:
        BadInput: a rule that no code applies, or a threshold that is no number above 0.

    Example:
        >>> rules(["no-harm"]), rules([{"no-harm": 0.1}])
        ({'no-harm': 0.001}, {'no-harm': 0.1})
    """
    out: dict[str, float] = {}
    for one in exclusions:
        given = dict(one) if isinstance(one, Mapping) else {NO_HARM if one == NO_HARM_SENTENCE else one: MIN_HARM}
        for rule, threshold in given.items():
            if rule != NO_HARM:
                raise BadInput(
                    f"the exclusion {rule!r} is a rule that no code applies{nearest(str(rule), [NO_HARM])}; there is {NO_HARM}, or "
                    f"{NO_HARM}: 0.1 with the least harm of a naive run. Write that, or leave it out"
                )
            out[rule] = _check_number(threshold, f"the exclusion {rule!r}")
    return out


def _check_numbers(name: str, values: Mapping[str, Any]) -> None:
    for axis, value in values.items():
        _check_number(value, f"{name} of a comparison on {axis!r}")


def _check_number(value: Any, what: str) -> float:
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise BadInput(f"{what} is {value!r}; give a number above 0")
    return float(value)


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
    if name in ("constraints", "margins"):
        _check_numbers(name, value)
    if name == "exclusions":
        rules(value)
    return tuple(value) if kind is list else value


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list, ensure_ascii=False)
