"""`despur apply`: what `despur fit` has learned, on another table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from despur.core import locked
from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.fitted import load_fitted
from despur.core.names import canonical
from despur.flows._fit.matrix import Layout
from despur.flows._fit.pivot import read_matrix
from despur.flows._fit.read import Source
from despur.flows.option import Option, assignments
from despur.flows.progress import Progress, silent
from despur.flows.verb import Out, verb

KINDS = (".parquet", ".csv")


@dataclass(frozen=True)
class Applied:
    """Scores of a table's rows.

    Args:
        method: The estimator.
        file: What was written.
        rows: Rows of the table.
        columns: Its columns.
        empty: Share of its cells without a value.
        scores: Name of a coordinate -> its value of each row.
        keys: Column that names rows -> its value for each row.
    """

    method: str
    file: Path
    rows: int
    columns: int
    empty: float
    scores: Mapping[str, Sequence[float]]
    keys: Mapping[str, Sequence[str]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the scores."""
        return {"schema": "despur.applied/1", "method": self.method, "file": str(self.file), "rows": self.rows,
                "columns": self.columns, "empty": self.empty, "scores": list(self.scores)}  # fmt: skip


@verb
def apply(
    fitted: Path | str,
    table: Path | str,
    *,
    out: Out,
    rows: Annotated[Sequence[str], Option(metavar="COLUMN,...")] = (),
    cols: Annotated[Sequence[str], Option(metavar="COLUMN,...")] = (),
    value: Annotated[str, Option(metavar="COLUMN")] = "",
    how: Annotated[Literal["refuse", "mean", "last"] | None, Option()] = None,
    where: Annotated[Mapping[str, str] | None, Option(read=assignments, metavar="COLUMN=VALUE,...")] = None,
    progress: Progress = silent,
) -> Applied:
    """Give each row of a table its scores by what `despur fit` has learned.

    The table has the columns of the fit, in any order; it is read as the fit's own was, unless options say otherwise. The
    estimator is built again from its name and options and given its numbers: nothing in the folder is executed.

    Args:
        fitted: Folder that `despur fit` wrote.
        table: Parquet, CSV, TSV or `.npy`.
        out: File of the scores, `.parquet` or `.csv`.
        rows: Columns that name a row; as in the fit if left out.
        cols: Columns that name a column; as in the fit if left out.
        value: Column of numbers, or a value of the column `axis`; as in the fit if left out.
        how: What several values of one cell make; as in the fit if left out.
        where: Takes only the lines that have these values; as in the fit if left out.
        progress: Called at each stage.

    Raises:
        BadInput: a folder that is none of a fit or was changed, a table with other columns, a file that is there already.
        ShapeMismatch: the folder's files are not of one fit.
        UnknownName: no such column or value of one.

    Example:
        $ despur apply fitted/ more.parquet -o scores.parquet
        >>> # apply("fitted/", "more.csv", out="scores.csv").scores
    """
    target = Path(out)
    if target.suffix.lower() not in KINDS:
        raise BadInput(f"-o {str(out)!r} is none of {', '.join(KINDS)}. Name a file that ends in one")
    with locked(target, file=True):
        if target.exists():
            raise BadInput(f"{str(out)!r} is there already, and is not replaced. Choose another -o")
        estimator, method, past, columns = _read(fitted)
        layout = Layout(
            tuple(rows) or tuple(past["rows"]), tuple(cols) or tuple(past["cols"]), value or past["value"],
            past["how"] if how is None else "" if how == "refuse" else how, past["where"] if where is None else where,
        )  # fmt: skip
        if not layout.cols and past["groups"] in Source(table).names:  # then it is no column of the matrix
            layout = replace(layout, groups=past["groups"])
        progress("read", 0, 1, {})
        matrix = read_matrix(table, layout).ordered(columns, table)
        matrix.check_seen(columns=False)
        matrix.check_holes(method, estimator)
        progress("read", 1, 1, {})
        scores = np.asarray(estimator.transform(matrix.values))
        scores = scores.reshape(len(scores), -1)
        named = {f"{method} {i + 1}": column.tolist() for i, column in enumerate(scores.T)}
        _write({**matrix.keys, **named}, target)
    return Applied(method, target, len(matrix.values), len(matrix.columns), matrix.empty, named, matrix.keys)


def _read(folder: Path | str) -> tuple[Any, str, dict[str, Any], list[str]]:
    """The estimator, its name, how its table was read, and its columns."""
    estimator, note = load_fitted(folder)
    method = canonical(type(estimator).__name__)
    if not {"layout", "columns"} <= set(note):
        raise BadInput(f"{str(folder)!r} has a fit of no table. Give a folder that `despur fit` wrote")
    if not hasattr(estimator, "transform"):
        raise BadInput(f"{method} gives rows no scores; what it has learned is in {str(folder)!r}. Read its page")
    if len(note["columns"]) != getattr(estimator, "n_features_in_", len(note["columns"])):
        raise ShapeMismatch(
            f"{str(folder)!r} has numbers for {estimator.n_features_in_} columns and names of {len(note['columns'])}. Fit it again"
        )
    return estimator, method, note["layout"], note["columns"]


def _write(columns: Mapping[str, Sequence[Any]], target: Path) -> None:
    """The whole file or none."""
    import pyarrow as pa
    import pyarrow.csv as pcsv
    import pyarrow.parquet as pq

    sink, table = pa.BufferOutputStream(), pa.table(dict(columns))
    if target.suffix.lower() == ".csv":
        pcsv.write_csv(table, sink)
    else:
        pq.write_table(table, sink, compression="zstd")
    write_bytes(target, sink.getvalue().to_pybytes())
