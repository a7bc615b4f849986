"""What will be run and how it will be judged, fixed before it is run; and what was done otherwise."""

import hashlib
import json
from collections.abc import Mapping, Sequence
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
        if odd := [one for one in value if not isinstance(one, str | Mapping)]:
            raise BadInput(f"the exclusion {odd[0]!r} of a comparison is no rule; there is {NO_HARM}")
        rules(value)
    _check_parts(name, value)
    return tuple(value) if kind is list else value


def _check_parts(name: str, value: Any) -> None:
    """Refuse names that are no text, and numbers that are no whole ones."""
    texts: Any = value if name in ("worlds", "baselines") else ()
    if odd := [one for one in texts if not isinstance(one, str)]:
        raise BadInput(f"field {name!r} of a comparison has {odd[0]!r}, where a name is needed")
    least = {"tuning_seeds": 0, "report_seeds": 0, "steps": 1, "draws": 1}.get(name)
    numbers: Any = value.values() if name == "steps" else [value] if name == "draws" else value
    if least is not None and (odd := [n for n in numbers if type(n) is not int or not least <= n < 2**31]):
        raise BadInput(
            f"field {name!r} of a comparison has {odd[0]!r}, where a whole number of {least} or more is needed"
        )
