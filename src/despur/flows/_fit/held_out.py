"""What an estimator says of rows that it was not fitted on, beside what it says of a table with permuted columns."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from despur.core import Report
from despur.core.errors import BadInput
from despur.flows._fit.matrix import Matrix
from despur.flows.progress import Progress

HIDDEN = 0.1  # share of a held-out row's cells that an estimator which completes must predict from the others
SWEPT = 8  # ranks that are tried at most
LARGE = 200_000  # cells of a table above which no ranks are tried: each costs as many fits as the judgement itself
CONTROL = "the same on a table whose columns are each permuted"
Make = Callable[[], Any]


@dataclass
class Sums:
    """Of each held-out row: squared errors, squares about the mean of the fitted rows, log-likelihood."""

    errors: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    likelihoods: list[float] = field(default_factory=list)
    units: list[int] = field(default_factory=list)


def folds_of(matrix: Matrix, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows that are fitted and rows held out, a few times; rows of one group are held out together.

    Raises:
        BadInput: one group alone.
    """
    from sklearn.model_selection import GroupKFold, KFold

    n = len(matrix.values)
    if matrix.groups is None:
        return list(KFold(min(folds, n), shuffle=True, random_state=seed).split(matrix.values))
    there = len(np.unique(matrix.groups))
    if there < 2:
        raise BadInput(
            "--groups puts all rows into one group, so none can be held out. Choose another column, or --folds 0"
        )
    return list(GroupKFold(min(folds, there)).split(matrix.values, groups=matrix.groups))


def permuted(values: np.ndarray, seed: int) -> np.ndarray:
    """Each column's values in another order; what is empty stays empty."""
    rng, made = np.random.default_rng(seed), values.copy()
    for column in made.T:
        seen = np.flatnonzero(~np.isnan(column))
        column[seen] = column[rng.permutation(seen)]
    return made


def held_out(
    make: Make, matrix: Matrix, *, folds: int, seed: int, tick: Callable[[], None] = lambda: None
) -> dict[str, Report]:
    """Figures by name: share of the variance of unseen cells that is explained, and log-likelihood of a row, where it has these.

    Args:
        make: Builds the estimator.
        matrix: The table.
        folds: How many times a part of the rows is held out.
        seed: Of folds, permutation and hidden cells.
        tick: Called after each fit.

    Raises:
        BadInput: it cannot be fitted on a part of the rows.
    """
    parts = folds_of(matrix, folds, seed)
    real, control = (
        _sums(make, values, matrix, parts, seed, tick) for values in (matrix.values, permuted(matrix.values, seed))
    )
    spec = {"control": CONTROL, "folds": len(parts), "unit of n": "group" if matrix.groups is not None else "row"}
    found: dict[str, Report] = {}
    if real.squares and sum(real.squares) > 0:
        value, low, high, n = _interval(np.array(real.errors), np.array(real.squares), real.units, seed)
        against = 1 - sum(control.errors) / max(sum(control.squares), 1e-300)
        hides = hasattr(make(), "complete")
        spec_here = {
            **spec,
            "cells": f"{HIDDEN:.0%} of the held-out rows' cells, hidden" if hides else "of held-out rows",
        }
        found["explained"] = Report("explained", value, low, high, n, against, "share of the variance", spec=spec_here)
    if real.likelihoods:
        each = -np.array(real.likelihoods)  # 1 - a/b with b = 1 is 1 - mean
        value, low, high, n = _interval(each, np.ones(len(each)), real.units, seed)
        against = float(np.mean(control.likelihoods))
        found["log-likelihood"] = Report(
            "log-likelihood", value - 1, low - 1, high - 1, n, against, "nats a row", spec=spec
        )
    return found


def judged(
    make: Callable[..., Any], matrix: Matrix, options: Mapping[str, Any], folds: int, seed: int, progress: Progress
) -> tuple[dict[str, Report], dict[int, tuple[float, float]]]:
    """Figures of the estimator, and by rank its explained share and the permuted table's where it has a rank.

    Args:
        make: Builds the estimator, with options.
        matrix: The table.
        options: Those that the estimator has.
        folds: How many times a part of the rows is held out; 0 gives nothing.
        seed: Of folds, permutation and hidden cells.
        progress: Called after each fit.
    """
    if not folds:
        return {}, {}
    n, d = matrix.values.shape
    ranks = range(1, min(SWEPT, d - 1, n // 4) + 1) if "rank" in options and n * d <= LARGE else range(0)
    done, each = 0, 2 * folds

    def tick() -> None:
        nonlocal done
        done += 1
        progress("held out", min(done, each * (1 + len(ranks))), each * (1 + len(ranks)), {})

    reports = held_out(make, matrix, folds=folds, seed=seed, tick=tick)
    by_rank: dict[int, tuple[float, float]] = {}
    for rank in ranks if "explained" in reports else ():
        here = held_out(lambda rank=rank: make(rank=rank), matrix, folds=folds, seed=seed, tick=tick)["explained"]
        by_rank[rank] = (here.value, here.control)
    return reports, by_rank


def _sums(
    make: Make, values: np.ndarray, matrix: Matrix, parts: list[tuple[np.ndarray, np.ndarray]], seed: int,
    tick: Callable[[], None],
) -> Sums:  # fmt: skip
    from sklearn.exceptions import ConvergenceWarning

    sums, rng = Sums(), np.random.default_rng(seed + 1)
    for train, test in parts:
        there = ~np.isnan(values[train]).all(0)  # a column may have no value among the rows that are left
        rows = values[np.ix_(train, there)]
        known = ~np.isnan(rows).all(1)
        groups = None if matrix.groups is None else matrix.groups[train][known]
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # the fit of all rows says so
            estimator = fit(make(), rows[known], groups)
        tick()
        for row, errors, squares in _errors(estimator, values[np.ix_(test, there)], np.nanmean(rows, axis=0), rng):
            sums.errors.append(errors)
            sums.squares.append(squares)
            sums.units.append(int(test[row] if matrix.groups is None else matrix.groups[test[row]]))
        if hasattr(estimator, "score_samples"):
            seen = ~np.isnan(values[np.ix_(test, there)]).all(1)
            sums.likelihoods += estimator.score_samples(values[np.ix_(test[seen], there)]).tolist()
            if len(sums.likelihoods) > len(sums.units):
                sums.units += (test[seen] if matrix.groups is None else matrix.groups[test[seen]]).tolist()
    return sums


def _errors(
    estimator: Any, rows: np.ndarray, mean: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[int, float, float]]:
    """Row, squared error and square about the mean, over the cells that it must predict."""
    seen = ~np.isnan(rows)
    use = np.flatnonzero(seen.any(1))
    rows, seen = rows[use], seen[use]
    if hasattr(estimator, "complete"):
        ask = seen & (rng.random(rows.shape) < HIDDEN)
        ask[ask.sum(1) == seen.sum(1)] = False  # of each row one cell at least is seen
        predicted = estimator.complete(np.where(ask, np.nan, rows))
    elif hasattr(estimator, "inverse_transform") and hasattr(estimator, "transform"):
        ask, predicted = seen, estimator.inverse_transform(estimator.transform(rows))
    else:
        return
    errors, squares = (np.where(ask, (rows - other) ** 2, 0.0).sum(1) for other in (predicted, mean))
    for row, error, square in zip(use, errors, squares, strict=True):
        yield int(row), float(error), float(square)


def fit(estimator: Any, rows: np.ndarray, groups: np.ndarray | None) -> Any:
    """Fit, with groups where the estimator takes them."""
    import inspect

    takes = groups is not None and "groups" in inspect.signature(estimator.fit).parameters
    return estimator.fit(rows, groups=groups) if takes else estimator.fit(rows)


def _interval(
    errors: np.ndarray, squares: np.ndarray, units: list[int], seed: int, draws: int = 1000
) -> tuple[float, float, float, int]:
    """1 - errors/squares with a percentile bootstrap over units, and how many these are."""
    _, code = np.unique(units[: len(errors)], return_inverse=True)
    a, b = (np.bincount(code, weights=w) for w in (errors, squares))
    rng = np.random.default_rng(seed)
    drawn = [1 - a[pick].sum() / max(b[pick].sum(), 1e-300) for pick in rng.integers(len(a), size=(draws, len(a)))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(1 - a.sum() / b.sum()), float(low), float(high), len(a)
