"""`despur fit`: an estimator of the catalogue on a table, with its figures beside a permuted table's."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from despur.core import Report, new_folder, write_json
from despur.core.build import build
from despur.core.catalogue import find_method, methods
from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.fitted import save_fitted
from despur.flows._fit.held_out import fit as fit_on
from despur.flows._fit.held_out import judged
from despur.flows._fit.matrix import Layout, Matrix
from despur.flows._fit.page import fit_blocks, judge
from despur.flows._fit.pivot import read_matrix
from despur.flows.method_options import read_options
from despur.flows.option import Option, assignments
from despur.flows.progress import Progress, silent
from despur.flows.record import run_record
from despur.flows.run_page import write_run_page
from despur.flows.verb import Out, Seed, recorded, verb

SCHEMA = "despur.fit/1"
LEAST = 4  # rows; of fewer nothing can be held out and fitted
_LONG = "A long table, one line a cell"


@dataclass(frozen=True)
class Fitted:
    """An estimator fitted to a table.

    Args:
        method: Its name.
        verdict: One word for pipelines.
        sentence: The same for people.
        folder: What was written.
        rows: Rows of the table.
        columns: Its columns.
        empty: Share of its cells without a value.
        merged: Values that came after the first of their cell.
        left_out: Lines without a row's or a column's name.
        reports: Figure -> report on held-out rows, beside the permuted table's.
        by_rank: Rank -> explained share, and the permuted table's.
        notes: What the fit warned of.
        record: Verb, arguments and versions, for `despur run`.
        estimator: Fitted to all rows.
    """

    method: str
    verdict: str
    sentence: str
    folder: Path
    rows: int
    columns: int
    empty: float
    merged: int
    left_out: int
    reports: Mapping[str, Report]
    by_rank: Mapping[int, tuple[float, float]]
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    estimator: Any = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA, "method": self.method, "verdict": self.verdict, "sentence": self.sentence,
            "folder": str(self.folder), "rows": self.rows, "columns": self.columns, "empty": self.empty,
            "merged": self.merged, "left_out": self.left_out,
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
            "by_rank": {str(rank): list(pair) for rank, pair in self.by_rank.items()},
            "notes": list(self.notes), **self.record,
        }  # fmt: skip


@verb
def fit(
    method: str,
    table: Path | str,
    *,
    out: Out,
    rows: Annotated[Sequence[str], Option(metavar="COLUMN,...")] = (),
    cols: Annotated[Sequence[str], Option(panel=_LONG, metavar="COLUMN,...")] = (),
    value: Annotated[str, Option(panel=_LONG, metavar="COLUMN")] = "",
    how: Annotated[Literal["refuse", "mean", "last"], Option(panel=_LONG)] = "refuse",
    where: Annotated[Mapping[str, str] | None, Option(read=assignments, metavar="COLUMN=VALUE,...")] = None,
    groups: Annotated[str, Option(metavar="COLUMN")] = "",
    options: Annotated[Mapping[str, str] | None, Option(read=assignments, metavar="NAME=VALUE,...")] = None,
    folds: Annotated[int, Option(low=0, high=100)] = 5,
    seed: Seed = 0,
    progress: Progress = silent,
) -> Fitted:
    """Fit an estimator to a table: any table, with its figures on held-out rows beside a permuted table's.

    The table is parquet, CSV, TSV or a `.npy` matrix. A long one has a line a cell: `--rows` and `--cols` name the columns that
    say which cell, `--value` its number, or what the column `axis` has for it in a table that `despur table` wrote. Without
    `--cols` each column is one of the matrix, and `--rows` only names its rows. An empty cell was not observed; it is never
    filled in. What was learned is written as JSON and safetensors, for `despur apply`.

    Some of the rows are held out and a tenth of their cells hidden; the figure says how much of the variance of these the
    estimator explains. The control is the same on the table with each column permuted, where no column tells of another.

    Args:
        method: Name of an estimator, as `despur ls find` prints it.
        table: The table's file.
        out: Folder of the result: `fitted.json`, `fitted.safetensors`, `fit.json`, `run.json`, `report.html`.
        rows: Columns that name a row, together.
        cols: Columns that name a column, together.
        value: Column of numbers, or a value of the column `axis`.
        how: What several values of one cell make; they are refused if left out.
        where: Takes only the lines that have these values.
        groups: Column that says which rows belong together: they are held out together, and given to estimators that take groups.
        options: Options of the estimator, as `rank=3`; `despur show METHOD` lists them.
        folds: How many times a part of the rows is held out; 0 measures nothing.
        seed: Seed of the parts, the hidden cells and the permutations.
        progress: Called at each stage.

    Raises:
        UnknownName: no such estimator, option, column or value of one; the message names the nearest.
        BadInput: a table that cannot be read, text where a number belongs, a cell with two values, a row or column with none.
        MissingExtra: what reads tables is not installed.

    Example:
        $ despur fit factor-analysis traces.parquet --rows run --cols prompt --value drift --groups seed -o fitted/
        $ despur fit factor-analysis scores.csv --rows name --options rank=3 -o fitted/
        $ despur fit factor-analysis activations.npy -o fitted/
        >>> # fit("factor-analysis", "scores.csv", rows=["name"], out="fitted/").reports["explained"].control
    """
    from sklearn.exceptions import ConvergenceWarning

    arguments = recorded(fit, locals())
    entry = _estimator(method)
    given = read_options(entry, options or {})
    progress("read", 0, 1, {})
    layout = Layout(tuple(rows), tuple(cols), value, "" if how == "refuse" else how, where, groups)
    matrix = read_matrix(table, layout)
    matrix.check_seen()
    _check(entry.name, build(entry.name, _nothing(), **given), matrix, folds, table)
    progress("read", 1, 1, {})

    def make(**more: Any) -> Any:
        return build(entry.name, _nothing(), **{**given, **more})

    with new_folder(out) as draft:
        progress("fit", 0, 1, {})
        with warnings.catch_warnings(record=True, action="always", category=ConvergenceWarning) as warned:
            estimator = fit_on(make(), matrix.values, matrix.groups)
        progress("fit", 1, 1, {})
        reports, by_rank = judged(make, matrix, entry.options, folds, seed, progress)
        word, sentence = judge(reports, folds)
        result = Fitted(
            entry.name, word, sentence, Path(out), len(matrix.values), len(matrix.columns), matrix.empty, matrix.merged,
            matrix.left_out, reports, by_rank, tuple(str(w.message) for w in warned), run_record("fit", arguments), estimator,
        )  # fmt: skip
        save_fitted(estimator, entry.name, draft, {"layout": _plain(layout), "columns": list(matrix.columns)})
        write_json(draft / "fit.json", result.to_dict())
        write_json(draft / "run.json", dict(result.record))
        title, blocks = f"despur fit {entry.name}", fit_blocks(result, matrix)
        write_run_page(draft / "report.html", result.record, title=title, subtitle=str(table), blocks=blocks)
    return result


def _estimator(name: str) -> Any:
    able = [n for n, m in methods().items() if m.contract == "estimator"]
    try:
        entry = find_method(name)
    except UnknownName as error:
        raise UnknownName(f"no estimator {name!r}{nearest(name, able)}. There are: {', '.join(able)}") from error
    if entry.contract != "estimator":
        raise UnknownName(
            f"{entry.name} is a {entry.room} method that gives {entry.contract}, no estimator{nearest(name, able)}. "
            f"There are: {', '.join(able)}"
        )
    return entry


def _check(name: str, estimator: Any, matrix: Matrix, folds: int, table: Path | str) -> None:
    n, d = matrix.values.shape
    if n < LEAST or d < 2:
        raise BadInput(
            f"{str(table)!r} gives {n} rows by {d} columns; {LEAST} rows and 2 columns are the least. Look at --rows, --cols"
        )
    if folds == 1:
        raise BadInput("folds=1; a part is held out at least twice. Give --folds 2 or more, or 0 to measure nothing")
    matrix.check_holes(name, estimator)


def _nothing() -> Any:
    from despur.core.materials import Given

    return Given({})


def _plain(layout: Layout) -> dict[str, Any]:
    return {"rows": list(layout.rows), "cols": list(layout.cols), "value": layout.value, "how": layout.how,
            "where": dict(layout.where or {}), "groups": layout.groups}  # fmt: skip
