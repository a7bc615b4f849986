"""A parquet file of a study, read a few rows at a time; what is wrong with it is one sentence."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from despur.core.errors import BadInput


class ParquetFile:
    """An open file.

    Args:
        path: Where it is.
        columns: Those that are read.
        empty: The message where it has no rows.
        again: The next step where it is damaged or lacks a column.

    Raises:
        BadInput: damaged, without a column, or without rows.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, empty: str, again: str) -> None:
        self.path, self.columns, self.again = path, list(columns), again
        try:
            with pq.ParquetFile(path) as file:
                self.rows: int = file.metadata.num_rows
                names = file.schema_arrow.names
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error
        if not self.rows:
            raise BadInput(empty)
        if lacking := [name for name in columns if name not in names]:
            raise BadInput(
                f"{str(path)!r} has no column {lacking[0]!r} ({', '.join(names)}): another version of despur wrote it. {again}"
            )

    def batches(self, size: int) -> Iterator[Any]:
        """Record batches of at most `size` rows, in the file's order.

        Raises:
            BadInput: the file is damaged further on.
        """
        try:
            with pq.ParquetFile(self.path, buffer_size=2**20, page_checksum_verification=True) as file:
                yield from file.iter_batches(batch_size=size, columns=self.columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> BadInput:
        why = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
        return BadInput(f"{str(self.path)!r} is not readable parquet: {why}. {self.again}")
