"""The four axes on which every guard is judged: task, drift, legitimate use, validity."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from despur.core import Report
from despur.core.errors import BadInput, nearest

Scores = Mapping[str, Mapping[str, Any]]  # axis -> readout -> one value a prompt, whatever numpy reads as an array
NAN = float("nan")
KEPT = 0.95  # legitimate use and validity under this share of the base's void a result
CONSTRAINTS: Mapping[str, float] = {
    "legitimate": KEPT,
    "validity": KEPT,
}  # axis -> least share of base, unless the plan has others
AREA = "area"  # the metric that is no axis: what a guard's settings dominate
SPANNED = ("task", "drift", "conditional", "free")  # (run - base) / (naive - base); the others are shares of base
LOWER = ("drift", "conditional")  # axes of which less is better
SHARES = ("legitimate", "validity", "forgetting")
MIN_HARM = 1e-3  # naive minus base, in the readout's unit, below which there is no harm to guard against


def four_axes(
    scores: Scores, *, base: Scores, naive: Scores, control: Scores | None = None, control_name: str = "none"
) -> dict[str, Report]:
    """Normalise one run's scores so that the frozen base is (0, 0), the naive run (1, 1), the ideal (1, 0).

    Nothing is clipped: a task above 1 and a drift below 0 are possible and meaningful. Intervals are
    paired bootstraps over prompts, base and naive resampled with them.

        task  = (S - S_base) / (S_naive - S_base)        drift = (D - D_base) / (D_naive - D_base)
        legitimate = L / L_base                            validity = A / A_base

    Args:
        scores: Of the run, axis -> readout -> one value a prompt; axes `task`, `drift`, `legitimate`,
            `validity` and more. The first readout of an axis is the one that counts.
        base: Of the frozen base, same prompts.
        naive: Of the unguarded run, same prompts, steps and seed.
        control: Of the guard's control (random subspace, permuted change).
        control_name: What that control is.

    Returns:
        One report a readout, named by its axis (`drift`) and, from the second on, by both (`drift_p`).
        Where the naive run shows no harm, `drift` is NaN: there was nothing to guard against.

    Example:
        >>> one, two = np.array([1.0, 3.0]), np.array([2.0, 4.0])
        >>> axes = four_axes({"task": {"p": two}}, base={"task": {"p": one}}, naive={"task": {"p": two * 2}})
        >>> axes["task"].value
        0.25
    """
    out = {}
    for axis, readouts in scores.items():
        for i, readout in enumerate(readouts):
            name = axis if i == 0 else f"{axis}_{readout}"
            run, ref, bad = (np.asarray(s[axis][readout], dtype=float) for s in (scores, base, naive))
            other = np.asarray(control[axis][readout], dtype=float) if control else None
            span = bad.mean() - ref.mean() if axis in ("task", "drift") else ref.mean()
            zero = ref if axis in ("task", "drift") else np.zeros_like(ref)
            one = bad if axis in ("task", "drift") else ref
            spec = {"control": control_name, "readout": readout}
            if axis == "drift" and span < MIN_HARM:
                out[name] = Report(
                    name, NAN, NAN, NAN, len(run), NAN, "share of naive", False, {**spec, "no_harm": float(span)}
                )
                continue
            value, low, high = _ratio(run, zero, one)
            out[name] = Report(
                name, value, low, high, len(run), NAN if other is None else _ratio(other, zero, one)[0],
                "share of naive" if axis in ("task", "drift") else "share of base", axis != "drift", spec,
            )  # fmt: skip
    return out


def _ratio(run: np.ndarray, zero: np.ndarray, one: np.ndarray) -> tuple[float, float, float]:
    """(run - zero) / (one - zero) of the means, with its paired bootstrap interval."""
    span = float(one.mean() - zero.mean())
    if span == 0:
        return NAN, NAN, NAN
    picks = np.random.default_rng(0).integers(len(run), size=(2000, len(run)))
    spans = one[picks].mean(1) - zero[picks].mean(1)
    boot = (run[picks].mean(1) - zero[picks].mean(1)) / np.where(spans == 0, NAN, spans)
    low, high = np.nanquantile(boot, [0.025, 0.975])
    return float((run.mean() - zero.mean()) / span), float(low), float(high)


def accepted(axes: Mapping[str, Report], constraints: Mapping[str, float] = CONSTRAINTS) -> bool:
    """Whether legitimate use and validity are kept, or what else a plan constrains, so that task and drift count at all."""
    return all(axes[name].value >= least for name, least in constraints.items())


def meets(axes: Mapping[str, np.ndarray], constraints: Mapping[str, float], *, spare: float = 0.0) -> np.ndarray:
    """Where every constrained axis has its least share of base, less `spare`; NaN does not count.

    Raises:
        BadInput: a constrained axis was not scored.
    """
    met = np.ones(next(iter(axes.values())).shape, dtype=bool)
    for axis, least in constraints.items():
        check_axis(axis, axes)
        met &= axes[axis] >= least - spare
    return met


def check_axis(axis: str, axes: Mapping[str, np.ndarray]) -> None:
    """Refuse an axis that a world does not score.

    Raises:
        BadInput: it is not there.
    """
    if axis not in axes:
        raise BadInput(
            f"the plan names the axis {axis!r}{nearest(axis, axes)}; the scored axes are {', '.join(axes)}. Name one of them"
        )


def in_words(constraints: Mapping[str, float]) -> str:
    """Constraints for people: "95% of legitimate use and validity", "95% of legitimate use and 90% of validity"."""
    if len(set(constraints.values())) == 1:
        return f"{next(iter(constraints.values())):.0%} of {' and '.join(map(axis_word, constraints))}"
    return " and ".join(f"{least:.0%} of {axis_word(axis)}" for axis, least in constraints.items()) or "nothing"


def axis_word(axis: str) -> str:
    """An axis in a sentence."""
    return "legitimate use" if axis == "legitimate" else axis
