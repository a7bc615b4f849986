"""Tests between guards: sign flips paired by seed, Holm over baselines, and what "never seen" bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from despur.core.errors import BadInput

EXACT = 16  # differences up to which all 2^n signs are tried


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Return two-sided p of "as often better as worse", from all sign patterns; n seeds give 2^(1-n) at the least.

    Beyond 16 differences 2^16 patterns are drawn, seeded.

    Args:
        differences: Guard minus baseline, one a seed.

    Raises:
        BadInput: there is none, or one is not finite.

    Example:
        >>> sign_flip([0.2, 0.1, 0.3, 0.1, 0.2])
        0.0625
    """
    d = np.asarray(differences, dtype=float)
    if d.size == 0 or not np.isfinite(d).all():
        raise BadInput(f"a sign-flip test needs finite differences, one a seed; got {d.tolist()}")
    if d.size == 1 or not d.any():
        return 1.0
    many: Any = math.inf if d.size <= EXACT else 2**EXACT - 1
    found: Any = stats.permutation_test(
        (d,), lambda x, axis=-1: x.mean(axis), permutation_type="samples", vectorized=True, n_resamples=many, batch=4096,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for their number: the smallest times n, the next times n - 1, never falling (Holm 1979).

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    order = sorted(ps, key=lambda name: ps[name])
    raised = np.maximum.accumulate([min(1.0, (len(ps) - i) * ps[name]) for i, name in enumerate(order)])
    found = dict(zip(order, map(float, raised), strict=True))
    return {name: found[name] for name in ps}


def none_of(n: int, *, level: float = 0.95) -> float:
    """Upper bound of a rate of which n tries showed nothing, about 3 / n: what "removed" must be quoted with.

    Raises:
        BadInput: nothing was tried.

    Example:
        >>> round(none_of(400), 4)
        0.0075
    """
    if n < 1:
        raise BadInput(f"0 of {n} bounds nothing; try at least once")
    return 1 - (1 - level) ** (1 / n)


@dataclass(frozen=True, slots=True)
class Versus:
    """A guard against one baseline.

    Args:
        difference: Mean over seeds.
        p: Of the sign-flip test.
        p_holm: Adjusted for all baselines.
        n: Seeds.
    """

    difference: float
    p: float
    p_holm: float
    n: int


def versus(scores: Mapping[str, np.ndarray], judged: str, baselines: Sequence[str]) -> dict[str, Versus]:
    """Test one guard against each baseline, paired by seed, adjusted for their number.

    Args:
        scores: Guard -> (seeds,) its figure, higher is better; `Grid.areas()` gives it.
        judged: The guard.
        baselines: What it is held against.

    Raises:
        BadInput: one of them is not there.

    Example:
        >>> found = versus({"mine": np.full(8, 0.9), "other": np.linspace(0.1, 0.3, 8)}, "mine", ["other"])["other"]
        >>> found.p_holm
        0.0078125
    """
    if lacking := [name for name in (judged, *baselines) if name not in scores]:
        raise BadInput(f"no scores of {', '.join(lacking)}; there are {', '.join(scores)}")
    gaps = {name: scores[judged] - scores[name] for name in baselines}
    ps = {name: sign_flip(gap) for name, gap in gaps.items()}
    adjusted = holm(ps)
    return {name: Versus(float(gap.mean()), ps[name], adjusted[name], len(gap)) for name, gap in gaps.items()}
