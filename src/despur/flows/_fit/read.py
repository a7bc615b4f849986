"""Columns of a file: parquet, CSV, TSV or `.npy`; only those that are asked for are read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.extras import need

KINDS = {".parquet": "", ".csv": ",", ".tsv": "\t", ".npy": ""}
_FAILED = re.compile(r"In CSV column #(\d+): (?:Row #\d+: )?CSV conversion error")


class Source:
    """A file with named columns.

    Args:
        path: The file.

    Raises:
        BadInput: it is missing, of another kind, damaged, or has two columns of one name.
        MissingExtra: no pyarrow.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.kind = self.path.suffix.lower()
        if self.kind not in KINDS:
            raise BadInput(f"{str(path)!r} is none of {', '.join(KINDS)}. Write the table as one of these")
        if not self.path.is_file():
            raise BadInput(f"no file {str(path)!r}. Give a table: {', '.join(KINDS)}")
        need("table", "reading tables")
        self._array = _read_array(self.path) if self.kind == ".npy" else None
        try:
            self.names = self._header()
        except (OSError, ValueError) as error:  # pyarrow's are ValueErrors
            raise BadInput(f"{str(path)!r} is no readable {self.kind[1:]}: {_first_line(error)}") from error
        if twice := [name for i, name in enumerate(self.names) if name in self.names[:i]]:
            raise BadInput(f"{str(path)!r} has two columns {twice[0]!r}. Give each its own name")

    def check(self, name: str, option: str) -> str:
        """Refuse a name that is no column.

        Raises:
            UnknownName: the message names the nearest.
        """
        if name not in self.names:
            there = ", ".join(self.names[:12]) + (f" and {len(self.names) - 12} more" if len(self.names) > 12 else "")
            raise UnknownName(
                f"{str(self.path)!r} has no column {name!r} for {option}{nearest(name, self.names)}. There are: {there}"
            )
        return name

    def read(self, names: Sequence[str]) -> dict[str, Any]:
        """Columns by name, as arrays of pyarrow.

        Raises:
            BadInput: the file is damaged, or empty.
        """
        import pyarrow as pa

        try:
            table = self._columns(list(dict.fromkeys(names)))
        except (OSError, ValueError) as error:
            raise BadInput(f"{str(self.path)!r} is no readable {self.kind[1:]}: {_first_line(error)}") from error
        if not table.num_rows:
            raise BadInput(f"{str(self.path)!r} has columns and no rows. Give a table with some")
        merged = table.combine_chunks()
        return {
            name: c.chunk(0) if isinstance(c := merged.column(name), pa.ChunkedArray) and c.num_chunks == 1
            else pa.concat_arrays(c.chunks) for name in table.column_names
        }  # fmt: skip

    def _header(self) -> list[str]:
        import pyarrow.csv as pcsv
        import pyarrow.parquet as pq

        if self._array is not None:
            named = self._array.dtype.names
            return [str(i) for i in range(self._array.shape[1])] if named is None else list(named)
        if self.kind == ".parquet":
            return list(pq.read_schema(self.path).names)
        with pcsv.open_csv(self.path, parse_options=self._parsing()) as stream:
            return list(stream.schema.names)

    def _columns(self, names: list[str]) -> Any:
        import pyarrow as pa
        import pyarrow.csv as pcsv
        import pyarrow.parquet as pq

        if self._array is not None:
            plain = self._array.dtype.names is None
            return pa.table({n: pa.array(self._array[:, int(n)] if plain else self._array[n]) for n in names})
        if self.kind == ".parquet":
            return pq.read_table(self.path, columns=names)
        as_text: dict[str, Any] = {}
        while True:  # a column's type is guessed from its first rows: one that a later row refutes is read as text
            convert = pcsv.ConvertOptions(include_columns=names, column_types=as_text)
            try:
                return pcsv.read_csv(self.path, parse_options=self._parsing(), convert_options=convert)
            except pa.ArrowInvalid as error:
                name = self.names[int(failed[1])] if (failed := _FAILED.match(str(error))) else ""
                if not name or name in as_text:
                    raise
                as_text[name] = pa.string()

    def _parsing(self) -> Any:
        import pyarrow.csv as pcsv

        return pcsv.ParseOptions(delimiter=KINDS[self.kind], newlines_in_values=True)


def _read_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(
            f"{str(path)!r} is no array of numbers: {_first_line(error)}. Write it with numpy.save"
        ) from error
    if array.dtype.names is None and (array.ndim != 2 or array.dtype.kind not in "fiub"):
        raise BadInput(
            f"{str(path)!r} has shape {array.shape} and dtype {array.dtype}; rows by columns of real numbers are needed"
        )
    if array.dtype.names is not None and array.ndim != 1:
        raise BadInput(f"{str(path)!r} has named columns and shape {array.shape}; one axis of rows is needed")
    return array


def _first_line(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0][:160]
