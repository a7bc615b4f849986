"""Task against drift: the area that a guard's settings dominate, and what lies on their frontier."""

from collections.abc import Sequence

import moocore
import numpy as np

from despur.core.reports import Reading
from despur.judge.axes import NAN

REFERENCE = (0.0, 1.0)  # no task, all of the drift: base and naive both dominate an area of exactly 0
Points = Sequence[tuple[float, float]] | np.ndarray
Kept = Sequence[bool] | np.ndarray | None


def hypervolume(points: Points, kept: Kept = None) -> float:
    """Area dominated above the reference (task 0, drift 1): 0 for base and naive, 1 for the ideal.

    A point beyond the ideal counts in full: nothing is clipped.

    Args:
        points: (n, 2) task and drift of one guard's settings, at one seed.
        kept: (n,) whether each setting is accepted (legitimate use and validity are kept); others dominate nothing.

    Example:
        >>> hypervolume([(0.5, 0.0), (1.0, 0.5)])
        0.75
        >>> hypervolume([(0.5, 0.0), (1.0, 0.5)], kept=[True, False])
        0.5
    """
    return float(moocore.hypervolume(_counted(points, kept), ref=REFERENCE, maximise=[True, False]))


def areas(task: np.ndarray, drift: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
    """Give `hypervolume` for many sets at once, settings last: (..., n) -> (...).

        sort by task, descending:  area = sum_i (t_i - t_{i+1}) (1 - min(q_1 .. q_i)),  t_{n+1} = 0

    Example:
        >>> areas(np.array([[0.5, 1.0], [1.0, 0.0]]), np.array([[0.0, 0.5], [1.0, 0.0]])).tolist()
        [0.75, 0.0]
    """
    counts = np.isfinite(task) & np.isfinite(drift) & (task > REFERENCE[0]) & (drift < REFERENCE[1])
    counts = counts if kept is None else counts & kept
    t, q = np.where(counts, task, 0.0), np.where(counts, drift, 1.0)
    order = np.argsort(-t, axis=-1)
    t, q = np.take_along_axis(t, order, -1), np.take_along_axis(q, order, -1)
    steps = t - np.concatenate([t[..., 1:], np.zeros_like(t[..., :1])], -1)
    return (steps * (1 - np.minimum.accumulate(q, -1))).sum(-1)


def drift_at_task(points: Points, task: float = 0.98, kept: Kept = None) -> Reading:
    """Least drift at which this much of the task is learned, on the straight lines between a guard's best settings.

    Args:
        points: (n, 2) task and drift.
        task: How much of it.
        kept: (n,) which settings count.

    Returns:
        The drift; NaN with the reason where no setting learns so much. Nothing is read beyond the last setting.

    Example:
        >>> drift_at_task([(0.75, 0.0), (1.0, 0.5)], 0.875).value
        0.25
        >>> drift_at_task([(0.9, 0.1)], 0.95)
        Reading(value=nan, reason='learns 0.900 of the task at most')
    """
    t, q = _envelope(points, kept)
    if not len(t):
        return Reading(NAN, "no setting is accepted")
    if task > t[-1]:
        return Reading(NAN, f"learns {t[-1]:.3f} of the task at most")
    return Reading(float(np.interp(task, t, q)))


def task_at_drift(points: Points, drift: float = 0.2, kept: Kept = None) -> Reading:
    """Most of the task that is learned within this much drift; the counterpart of `drift_at_task`.

    Example:
        >>> task_at_drift([(0.75, 0.0), (1.0, 0.5)], 0.25).value
        0.875
        >>> task_at_drift([(1.0, 0.3)], 0.2)
        Reading(value=nan, reason='drifts by 0.300 at least')
    """
    t, q = _envelope(points, kept)
    if not len(t):
        return Reading(NAN, "no setting is accepted")
    if drift < q[0]:
        return Reading(NAN, f"drifts by {q[0]:.3f} at least")
    return Reading(float(np.interp(drift, q, t)))


def attainment(sets: Sequence[np.ndarray], shares: Sequence[float] = (0.25, 0.5, 0.75)) -> dict[float, np.ndarray]:
    """What a share of the seeds attains, as corners of stairs: the empirical attainment function.

    Args:
        sets: (n, 2) task and drift of the accepted settings, one array a seed; an empty one is a seed that attains nothing.
        shares: In (0, 1].

    Returns:
        Share -> (m, 2) task and drift, task ascending: at least that share of the seeds reaches this task within this
        drift. Empty where no such point is.

    Example:
        >>> attainment([np.array([[0.9, 0.1]]), np.array([[0.8, 0.2]])], [0.5, 1.0])
        {0.5: array([[0.9, 0.1]]), 1.0: array([[0.8, 0.2]])}
    """
    full = [s for s in (_counted(s, None) for s in sets) if len(s)]
    out = {}
    for share in shares:
        needed = int(np.ceil(share * len(sets) - 1e-9))  # seeds, the empty ones among them
        if needed > len(full):
            out[share] = np.zeros((0, 2))
            continue
        rows = np.concatenate(full) * (-1, 1)  # both small
        labels = np.repeat(np.arange(1, len(full) + 1), [len(s) for s in full])
        corners = moocore.eaf(rows, labels, percentiles=[100 * needed / len(full)])[:, :2] * (-1, 1)
        out[share] = corners[np.argsort(corners[:, 0])]
    return out


def _counted(points: Points, accepted: Kept) -> np.ndarray:
    rows = np.asarray(points, dtype=float).reshape(-1, 2)
    counts = np.isfinite(rows).all(1)
    return rows[counts if accepted is None else counts & np.asarray(accepted, dtype=bool)]


def _envelope(points: Points, accepted: Kept) -> tuple[np.ndarray, np.ndarray]:
    """Settings that no other one of the guard beats, task and drift both ascending."""
    rows = _counted(points, accepted)
    rows = rows[moocore.is_nondominated(rows, maximise=[True, False])] if len(rows) else rows
    rows = rows[np.argsort(rows[:, 0])]
    return rows[:, 0], rows[:, 1]
