"""The table on disk, parquet or CSV: written batch by batch, whole or not at all."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from despur.core.disk.files import draft_of, put
from despur.core.errors import BadInput
from despur.flows._table.columns import COLUMNS, FORM, KEY, TEXT

KINDS = (".parquet", ".csv")
GROUP = 2**20  # rows of a row group of parquet


def check_place(out: Path) -> None:
    """Refuse a name of another kind, and the place of something that is no table of despur's.

    Raises:
        BadInput: either of them.
    """
    if out.suffix not in KINDS:
        raise BadInput(
            f"-o {str(out)!r} ends in {out.suffix!r}; a table is written as {' or '.join(KINDS)}. Choose one of them"
        )
    if out.exists() and not _is_ours(out):
        raise BadInput(
            f"{str(out)!r} is there and is no table that despur wrote, so it is not replaced. Choose another -o"
        )


def _is_ours(path: Path) -> bool:
    if path.is_dir():
        return False
    try:
        if path.suffix == ".parquet":
            return (pq.read_schema(path).metadata or {}).get(KEY, b"").startswith(b"despur.table/")
        with path.open(encoding="utf-8") as file:
            return file.readline().replace('"', "").strip() == ",".join(COLUMNS)
    except (OSError, ValueError, pa.ArrowException):
        return False


def write_batches(batches: Iterable[Any], out: Path, *, beside: tuple[Path, Path] | None = None) -> None:
    """Write record batches into a file; an older one is replaced in the last moment.

    Args:
        batches: In the form of `FORM`; an error in making them leaves nothing behind.
        out: The file.
        beside: A file that is there already, and the name that it gets with this one.

    Raises:
        BadInput: the file cannot be written (disk full).
    """
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(out)
    try:
        with _writing(out):
            writer = (
                pq.ParquetWriter(draft, FORM, compression="zstd", write_page_checksum=True)
                if out.suffix == ".parquet"
                else pc.CSVWriter(draft, _plain())
            )
        with _closing(writer, out):
            for group in _grouped(batches):
                with _writing(out):
                    writer.write_table(group if out.suffix == ".parquet" else group.cast(_plain()))
        with _writing(out):
            if beside:
                put(*beside)
            put(draft, out)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _closing(writer: Any, out: Path) -> Iterator[None]:
    """Close a writer; what it says of a disk that was full before does not hide the first error."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, pa.ArrowException):
            writer.close()
        raise
    with _writing(out):
        writer.close()


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise BadInput(
            f"writing {str(out)!r} failed: {why}. Nothing of it was left behind; free some room or choose another -o"
        ) from error


def _grouped(batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of about `GROUP` rows: small groups make a file large and slow."""
    some: list[Any] = []
    for batch in batches:
        some.append(batch)
        if sum(b.num_rows for b in some) >= GROUP:
            yield pa.Table.from_batches(some, FORM)
            some = []
    if some:
        yield pa.Table.from_batches(some, FORM)


def _plain() -> Any:
    """The columns with text as it is: CSV knows no dictionaries."""
    return pa.schema([(name, pa.string() if kind == TEXT else kind) for name, kind in COLUMNS.items()])
