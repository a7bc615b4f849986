"""Rows in files: JSON lines, packed or not, parquet, and folders that `datasets` saved."""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from despur.core.disk.files import read_json
from despur.core.errors import BadInput, MissingExtra
from despur.core.text.cuts import check_whole

STDIN = "-"
SPLIT = "train"  # of several, the one that is taken
KEYS = (
    *("messages", "conversations", "conversation", "prompt", "completion", "text", "instruction"),
    *("input", "output", "history", "system", "tools", "chat_template_kwargs"),
)
_DICT, _STATE = "dataset_dict.json", "state.json"  # what save_to_disk leaves
_NAMES = (".jsonl", ".json", ".ndjson", ".gz", ".parquet")
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_WANTED = "JSON lines, .gz of them, parquet, or a folder that datasets' save_to_disk wrote"


def are_rows(path: Path | str) -> bool:
    """Whether a name is that of a file of rows, or of a folder that `datasets` saved, where an adapter's folder might be as well.

    Example:
        >>> are_rows("data.jsonl"), are_rows("adapter/")
        (True, False)
    """
    path = Path(path)
    return path.suffix.lower() in _NAMES or any((path / name).is_file() for name in (_DICT, _STATE))


def raw_rows(source: Path | bytes, name: str, *, plain: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield every row with its place in words; the first bytes decide the kind, not the name.

    Args:
        source: A file, a folder of `datasets`, or the bytes of a file.
        name: Its name in messages.
        plain: A line that begins with no bracket is a prompt, as it stands.

    Raises:
        BadInput: missing, damaged, of a kind that is not read, or a line that is not JSON.
        MissingExtra: pyarrow or datasets is needed and not there.
    """
    if isinstance(source, Path) and source.is_dir():
        yield from _saved(source, name)
        return
    if isinstance(source, Path) and not source.is_file():
        raise BadInput(f"no data file {name!r}. Give {_WANTED}, with messages, prompt/completion or text")
    try:
        with ExitStack() as stack:
            file: Any = stack.enter_context(source.open("rb") if isinstance(source, Path) else io.BytesIO(source))
            head = file.read(4)
            file.seek(0)
            if head == _PARQUET:
                yield from _parquet(file, name)
                return
            if head[:2] == _GZIP:
                file = stack.enter_context(gzip.GzipFile(fileobj=file))
            elif name.endswith((".gz", ".parquet")):
                kind = "parquet" if name.endswith(".parquet") else "gzip"
                raise BadInput(f"{name!r} is no {kind}: it begins with {head!r}. Copy or make it again")
            yield from _lines(stack.enter_context(io.TextIOWrapper(file, encoding="utf-8-sig")), name, plain)
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise BadInput(f"cannot read {name!r}: {error}. Is it UTF-8 JSON lines?") from error


def data_digest(source: Path | bytes) -> str:
    """SHA-256 of a file's bytes; of a folder that `datasets` saved, of its tables in order.

    Raises:
        BadInput: the file cannot be read.
    """
    sha = hashlib.sha256(source if isinstance(source, bytes) else b"")
    if isinstance(source, Path):
        try:
            for path in sorted(taken_split(source).rglob("*.arrow")) if source.is_dir() else [source]:
                with path.open("rb") as file:
                    while part := file.read(2**20):
                        sha.update(part)
        except OSError as error:
            raise BadInput(f"cannot read {str(source)!r}: {error.strerror}. Give a file you may read") from error
    return sha.hexdigest()


def taken_split(folder: Path) -> Path:
    """The folder of the split that is read: itself, or `train` of a DatasetDict.

    Raises:
        BadInput: a DatasetDict without that split.
    """
    if not (folder / _DICT).is_file():
        return folder
    layout = read_json(folder / _DICT)
    splits = layout.get("splits", []) if isinstance(layout, dict) else []
    if SPLIT not in splits:
        raise BadInput(
            f"{str(folder)!r} has the splits {', '.join(map(repr, splits)) or 'none'}, and no {SPLIT!r}. "
            f"Give one of them: {folder / str(splits[0] if splits else SPLIT)}"
        )
    return folder / SPLIT


def suffix_of(data: bytes) -> str:
    """What a file of these bytes is called."""
    return ".parquet" if data[:4] == _PARQUET else ".jsonl.gz" if data[:2] == _GZIP else ".jsonl"


def _lines(file: Iterable[str], name: str, plain: bool) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f"{name}:{number}"
            if plain and line.lstrip()[0] not in "{[":
                yield where, {"prompt": line.strip()}
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{where} is not JSON: {error}. One JSON object a line is needed") from error
            if "\\ud" in line or "\\uD" in line:  # one half of a character beyond 16 bits, or both
                check_whole(json.dumps(row, ensure_ascii=False), where)
            yield where, row


def _parquet(file: io.BufferedIOBase, name: str) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(f"reading parquet ({name!r}) needs pyarrow. Install: pip install 'despur[trl]'") from error
    try:
        table = pq.ParquetFile(file)
        columns = _known(table.schema_arrow.names, name)
        number = 0
        for batch in table.iter_batches(columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield f"{name}, row {number}", _present(row)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"cannot read {name!r} as parquet: {_first(error)}. Copy or write it again") from error


def _saved(folder: Path, name: str) -> Iterator[tuple[str, Any]]:
    split = taken_split(folder)
    if not (split / _STATE).is_file():
        raise BadInput(f"{name!r} is a folder, but not one that datasets' save_to_disk wrote. Give {_WANTED}")
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(f"reading the folder {name!r} needs datasets. Install: pip install 'despur[trl]'") from error
    try:
        rows: Any = datasets.load_from_disk(str(split)).with_format(None)
        rows = rows.select_columns(_known(rows.column_names, name))
        for number, row in enumerate(rows, 1):
            yield f"{name}, row {number}", _present(row)
    except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's own are of these
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"datasets cannot load {name!r}: {_first(error)}. Save it again with save_to_disk") from error


def _known(columns: Sequence[str], name: str) -> list[str]:
    known = [c for c in KEYS if c in columns]
    if not set(known) & set(KEYS[:7]):
        raise BadInput(
            f"{name!r} has the columns {sorted(columns)}; 'messages', 'prompt' and 'completion', or 'text' are needed. "
            "Rename them"
        )
    return known


def _present(value: Any) -> Any:
    """A table gives every row every field: those that are null were never there."""
    if isinstance(value, Mapping):
        return {k: _present(v) for k, v in value.items() if v is not None}
    return [_present(v) for v in value] if isinstance(value, list) else value


def _first(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= 200 else text[:197] + "...").rstrip(".")
