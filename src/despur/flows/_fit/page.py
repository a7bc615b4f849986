"""A fit in a word, a sentence and a page, with the fitted object's own picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from despur.core import Report
from despur.flows._fit.matrix import Matrix
from despur.report import Bars, Curves, Heat, Table, Text, Verdict

if TYPE_CHECKING:
    from despur.flows._fit.fit import Fitted

BEATS, NOT_BETTER, NOTHING = "beats its control", "no better than a permuted table", "not measured"
TONES: dict[str, Literal["good", "bad", "unsure"]] = {BEATS: "good", NOT_BETTER: "bad", NOTHING: "unsure"}
SEEN, WRITTEN = 40, 15  # rows and columns of a picture; rows of a table of figures
DEEPEST = 3.0  # standard deviations


def judge(reports: Mapping[str, Report], folds: int) -> tuple[str, str]:
    """One word and one sentence, from the explained share, or the log-likelihood where there is none."""
    if not reports:
        return NOTHING, "nothing was held out" if not folds else "it predicts no cells and no likelihood"
    report = reports.get("explained") or reports["log-likelihood"]
    word = BEATS if report.low > report.control else NOT_BETTER
    value, low, high, control = (
        f"{round(v, 2) + 0.0:.2f}" for v in (report.value, report.low, report.high, report.control)
    )
    what = (
        f"it explains {value} [{low}, {high}] of the variance of cells that it was not fitted on"
        if report.name == "explained"
        else f"its log-likelihood is {value} [{low}, {high}] nats a held-out row"
    )
    return word, f"{what}; on a table with permuted columns {control}"


def fit_blocks(result: "Fitted", matrix: Matrix) -> list[Any]:
    """The page's blocks, the verdict first."""
    blocks: list[Any] = [Verdict(result.verdict, result.sentence, TONES[result.verdict])]
    if result.notes:
        blocks.append(Text("Not settled", "\n\n".join(result.notes)))
    facts: list[list[Any]] = [
        ["rows", result.rows], ["columns", result.columns], ["share of cells that are empty", round(result.empty, 4)],
        ["values after the first of their cell", result.merged], ["lines without a row's or a column's name", result.left_out],
        ["groups", 0 if matrix.groups is None else len(np.unique(matrix.groups))],
    ]  # fmt: skip
    blocks.append(Table("The table", ["", ""], facts))
    for name, report in result.reports.items():
        unit = f"{report.unit}; {report.spec['cells']}" if "cells" in report.spec else report.unit
        blocks.append(
            Bars(
                f"On held-out rows: {name}",
                [
                    (result.method, report.value, report.low, report.high),
                    ("permuted table", report.control, None, None),
                ],
                f"{unit.capitalize()}. The bar is 95 % over {report.n} {report.spec['unit of n']}s, {report.spec['folds']} parts. "
                f"Control: {report.spec['control']}.",
            )
        )
    if result.by_rank:
        ranks = list(result.by_rank)
        lines = [(name, ranks, [result.by_rank[r][i] for r in ranks]) for i, name in enumerate(("table", "permuted"))]
        note = "Where the upper line stops rising, more coordinates only fit noise."
        blocks.append(Curves("Explained share by rank", "rank", "explained", lines, note))
    return [*blocks, *_picture(result.estimator, matrix), *_again(result.estimator, matrix)]


def _picture(estimator: Any, matrix: Matrix) -> list[Any]:
    """Loadings, where the estimator has components; each of its own arrays by its shape in any case."""
    blocks: list[Any] = []
    components: Any = getattr(estimator, "components_", None)
    if components is None and getattr(estimator, "factors_", None):
        components = estimator.factors_[0].write.double().numpy()
    if components is not None and components.ndim == 2 and components.shape[1] == len(matrix.columns):
        size = np.nanstd(matrix.values, axis=0)
        each = components / np.where(size > 0, size, 1.0)
        order = np.argsort(-np.abs(each).max(0), kind="stable")
        names = [str(i + 1) for i in range(len(each))]
        top = order[:SEEN]
        blocks.append(
            Heat("Loadings", [matrix.columns[j] for j in top], names, each[:, top].T.tolist(),
                 f"Of each column on each coordinate, in its standard deviations, the strongest {len(top)} of {len(order)} columns.")
        )  # fmt: skip
        noise: Any = getattr(estimator, "noise_variance_", None)
        rows = [
            [matrix.columns[j], *map(float, each[:, j]), *([float(noise[j])] if np.ndim(noise) else [])] for j in top
        ]
        blocks.append(
            Table("The same in figures", ["column", *names, *(["own noise"] if np.ndim(noise) else [])], rows)
        )
    shapes = [[name, "×".join(map(str, value.shape)) or "one", float(value.min()), float(value.max())]
              for name, value in sorted(vars(estimator).items())
              if name.endswith("_") and isinstance(value, np.ndarray) and value.size and value.dtype.kind in "fiu"]  # fmt: skip
    if shapes:
        blocks.append(Table("What it has learned", ["name", "shape", "least", "most"], shapes))
    return blocks


def _again(estimator: Any, matrix: Matrix) -> list[Any]:
    """A part of the table beside what the estimator makes of it, its rows in the order of the first coordinate."""
    if not (hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform")):
        return []
    scores = np.asarray(estimator.transform(matrix.values))
    order = np.argsort(scores[:, 0], kind="stable") if scores.ndim == 2 else np.arange(len(scores))
    rows = order[np.unique(np.linspace(0, len(order) - 1, min(SEEN, len(order))).round().astype(int))]
    shown = matrix.values[rows]
    made = np.asarray(estimator.inverse_transform(scores[rows]))
    cols = np.arange(min(SEEN, len(matrix.columns)))
    middle, size = np.nanmean(matrix.values, axis=0), np.nanstd(matrix.values, axis=0)
    names, heads = matrix.names, [matrix.columns[j] for j in cols]
    note = (
        f"{len(rows)} of {len(order)} rows by the first coordinate, {len(cols)} of {len(middle)} columns; each less its mean, "
        f"in its standard deviations, {DEEPEST:g} the deepest shade."
    )
    scale = np.where(size > 0, size, 1.0)
    return [
        Heat(title, [names[i] for i in rows], heads, ((part - middle) / scale)[:, cols].tolist(), note, DEEPEST)
        for title, part in (("The table", shown), ("What the fit makes of it", made))
    ]
