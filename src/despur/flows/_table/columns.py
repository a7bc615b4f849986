"""The columns of the table, their types and their order: what every source gives its rows as."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

SCHEMA = "despur.table/1"  # a column that goes or changes its meaning raises the number; a new one at the end does not
KEY = b"schema"  # of the metadata of a parquet file
TEXT, WHOLE, REAL = pa.dictionary(pa.int32(), pa.string()), pa.int64(), pa.float64()
COLUMNS: Mapping[str, Any] = {
    "run": TEXT, "base": TEXT, "seed": WHOLE, "guard": TEXT, "setting": TEXT, "step": WHOLE, "layer": WHOLE, "module": TEXT,
    "prompt": TEXT, "axis": TEXT, "value": REAL, "n": WHOLE, "low": REAL, "high": REAL, "readout": TEXT, "index": WHOLE,
    "round": TEXT, "half": TEXT,
}  # fmt: skip
FORM = pa.schema(list(COLUMNS.items()), metadata={KEY: SCHEMA.encode()})
CHUNK = 2**17  # rows that a source gives at once

_LAYER = re.compile(
    r"(?:^|\.)(\d+)(?:\.|$)"
)  # of a path that has several numbers the first is the layer's: experts come later


def layer_of(module: str | None) -> int | None:
    """Number of the layer that a module is in; None for embeddings, the head and the like.

    Example:
        >>> layer_of("model.layers.3.mlp.experts.7.up_proj"), layer_of("lm_head")
        (3, None)
    """
    found = _LAYER.search(module or "")
    return int(found[1]) if found else None


def batches_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    """Make record batches of rows that name the columns they fill; what is not named, None, NaN or infinite is missing."""
    rows = iter(rows)
    while some := list(islice(rows, CHUNK)):
        if unknown := {name for row in some for name in row} - set(COLUMNS):
            raise ValueError(f"no column {', '.join(sorted(unknown))}")
        yield batch_of({name: [row.get(name) for row in some] for name in COLUMNS}, len(some))


def batch_of(columns: Mapping[str, Any], rows: int) -> Any:
    """Make one record batch of columns, each a list or an Arrow array; those that are not there are missing throughout."""
    return pa.RecordBatch.from_arrays(
        [_array(columns.get(name), kind, rows) for name, kind in COLUMNS.items()], schema=FORM
    )


def _array(values: Any, kind: Any, rows: int) -> Any:
    if values is None:
        return pa.nulls(rows, kind)
    if isinstance(values, pa.Array):
        return values
    if kind == TEXT:
        return pa.array(values, pa.string()).dictionary_encode()
    if kind == REAL:
        values = [None if v is None or not math.isfinite(v) else float(v) for v in values]
    return pa.array(values, kind)
