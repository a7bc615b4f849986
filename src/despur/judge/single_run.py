"""One run of one seed as one figure: the part of the task that was learned without the drift."""

from collections.abc import Mapping

import numpy as np

from despur.core import Report
from despur.judge.axes import CONSTRAINTS, NAN, Scores

DRAWS = 2000


def area_of_one(
    scores: Scores, *, base: Scores, naive: Scores, control: Scores, control_name: str = "control",
    constraints: Mapping[str, float] = CONSTRAINTS, seed: int = 0,
) -> Report:  # fmt: skip
    """Area that a single run dominates, with its interval over prompts, beside that of its control.

    What `areas` is for the settings of a guard over seeds, for one setting of one seed: 0 for the base and for the naive run,
    1 for the ideal.

        area = t (1 - q),   0 where t <= 0, q >= 1, or an axis has less than its share of base

    Args:
        scores: Of the run, axis -> readout -> one value a prompt.
        base: Of the frozen base, same prompts.
        naive: Of the unguarded run, same prompts, steps and seed.
        control: Of the guard's control.
        control_name: What that control is.
        constraints: Axis -> least share of base without which the run counts for nothing.
        seed: Of the bootstrap, in which prompts of an axis are drawn together for all runs.

    Example:
        >>> low, high = {"p": np.zeros(4)}, {"p": np.ones(4)}
        >>> base, naive = {"task": low, "drift": low}, {"task": high, "drift": high}
        >>> half = {"task": {"p": np.full(4, 0.5)}, "drift": low}
        >>> report = area_of_one(half, base=base, naive=naive, control=naive, constraints={})
        >>> report.value, report.control
        (0.5, 0.0)
    """
    rng = np.random.default_rng(seed)
    draws = {axis: _draws(base, axis, rng) for axis in ("task", "drift", *constraints)}
    own, other = (_areas(s, base, naive, draws, constraints) for s in (scores, control))
    low, high = np.nanquantile(own[1:], [0.025, 0.975]) if np.isfinite(own).any() else (NAN, NAN)
    t, q = (_shares(scores, base, naive, axis, draws[axis])[0] for axis in ("task", "drift"))
    spec = {"control": control_name, "task": float(t), "drift": float(q)}
    for axis in constraints:
        spec[axis] = float(_kept(scores, base, axis, draws[axis])[0])
    return Report(
        "area", float(own[0]), float(low), float(high), draws["drift"].shape[1], float(other[0]), "area", True, spec
    )


def _draws(base: Scores, axis: str, rng: np.random.Generator) -> np.ndarray:
    """Prompts of every draw; the first is all of them, once."""
    n = len(_values(base, axis))
    return np.vstack([np.arange(n), rng.integers(n, size=(DRAWS, n))])


def _areas(
    scores: Scores, base: Scores, naive: Scores, draws: Mapping[str, np.ndarray], constraints: Mapping[str, float]
) -> np.ndarray:
    t, q = (_shares(scores, base, naive, axis, draws[axis]) for axis in ("task", "drift"))
    counts = (t > 0) & (q < 1)
    for axis, least in constraints.items():
        counts &= _kept(scores, base, axis, draws[axis]) >= least
    area = np.where(counts, t * (1 - q), 0.0)
    return np.where(np.isfinite(t) & np.isfinite(q), area, NAN)


def _shares(scores: Scores, base: Scores, naive: Scores, axis: str, picks: np.ndarray) -> np.ndarray:
    run, zero, one = (_values(s, axis)[picks].mean(1) for s in (scores, base, naive))
    span = one - zero
    return (run - zero) / np.where(span == 0, NAN, span)


def _kept(scores: Scores, base: Scores, axis: str, picks: np.ndarray) -> np.ndarray:
    return _values(scores, axis)[picks].mean(1) / _values(base, axis)[picks].mean(1)


def _values(scores: Scores, axis: str) -> np.ndarray:
    """The first readout of an axis is the one that counts."""
    return np.asarray(next(iter(scores[axis].values())), dtype=float)
