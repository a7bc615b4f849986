"""Tests between guards: sign flips paired by seed, all baselines together, and what "never seen" bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from despur.core.errors import BadInput
from despur.core.holm import holm as core_holm

EXACT = 16  # differences up to which all 2^n signs are tried


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Return two-sided p of "as often better as worse", from all sign patterns; n seeds give at least 2^(1-n).

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
    result: Any = stats.permutation_test(
        (d,), lambda x, axis=-1: x.mean(axis), permutation_type="samples", vectorized=True, n_resamples=many, batch=4096,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.pvalue)


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for their number: the smallest times n, the next times n - 1, never falling (Holm 1979).

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    return dict(zip(ps, core_holm(list(ps.values())), strict=True))


def max_t(differences: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, float]:
    """Adjust p-values for their number by flipping a seed's sign in all baselines at once, step-down.

    Seeds are shared, so baselines rise and fall together, and 2^(1-n) stays attainable however many there are; Holm's
    least value is that times their number (8 seeds, 35 baselines: .27, so nothing can pass). Statistic: |mean| / root mean
    square, equivalent to t under flips. Strong control where signs are exchangeable, seed by seed, in all baselines jointly.

    Args:
        differences: Baseline -> guard minus baseline, one a seed, the same seeds in the same order. Beyond 16 seeds 2^16
            patterns are drawn, seeded.

    Raises:
        BadInput: seeds differ in number, or a difference is not finite.

    Example:
        >>> max_t({"a": [0.2, 0.1, 0.3, 0.1, 0.2], "b": [0.1, -0.1, 0.1, -0.1, 0.1], "c": [-0.2, -0.1, -0.2, -0.1, -0.2]})
        {'a': 0.125, 'b': 1.0, 'c': 0.125}

    Source: Westfall & Young 1993, step-down max-T.
    """
    if not differences:
        return {}
    rows = [np.asarray(d, dtype=float) for d in differences.values()]
    n = rows[0].size
    if n == 0 or any(row.size != n or not np.isfinite(row).all() for row in rows):
        raise BadInput("joint sign flips need finite differences, the same seeds for every baseline")
    gaps = np.stack(rows)
    if n <= EXACT:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = np.vstack([np.ones(n), np.random.default_rng(0).choice((-1, 1), (2**EXACT - 1, n))])
    root = np.sqrt((gaps**2).mean(1))
    flipped = np.abs(signs @ gaps.T) / n / np.where(root > 0, root, 1.0)  # (patterns, baselines), first what was seen
    order = np.argsort(-flipped[0], kind="stable")
    largest = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]  # of this baseline and all behind it
    raised = np.maximum.accumulate((largest >= flipped[0, order] - 1e-12).mean(0))
    adjusted = dict(zip((list(differences)[i] for i in order), map(float, raised), strict=True))
    return {name: adjusted[name] for name in differences}


def none_of(n: int, *, level: float = 0.95) -> float:
    """Upper bound of a rate after n tries without a hit, about 3 / n: quote it with every "removed".

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
        p_joint: Adjusted for all baselines, by `max_t`.
        p_holm: The same by `holm`.
        n: Seeds.
    """

    difference: float
    p: float
    p_joint: float
    p_holm: float
    n: int


def versus(scores: Mapping[str, np.ndarray], judged: str, baselines: Sequence[str]) -> dict[str, Versus]:
    """Test one guard against each baseline, paired by seed, adjusted for their number.

    Args:
        scores: Guard -> (seeds,) its figure, higher is better; `Grid.areas()` gives it.
        judged: The guard.
        baselines: What it is compared with.

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
    joint, adjusted = max_t(gaps), holm(ps)
    return {n: Versus(float(gap.mean()), ps[n], joint[n], adjusted[n], len(gap)) for n, gap in gaps.items()}
