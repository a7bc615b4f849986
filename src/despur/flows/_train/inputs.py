"""The inputs of a training run, rows and a scout, each checked before anything is trained; and its recorded arguments."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from despur.core import Adapter
from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput
from despur.core.text.chat import render
from despur.core.text.cuts import Encoder
from despur.core.text.row_files import SPLIT, STDIN, data_digest, raw_rows, suffix_of, taken_split
from despur.core.text.rows import each_row
from despur.flows.record import private
from despur.flows.stand_in import StandIn

CONFIG = "config.yaml"
Tokenized = tuple[tuple[int, ...], ...]
KEPT_DATA = ("data.jsonl", "data.jsonl.gz", "data.parquet")  # what came on standard input, in the run's folder


class Data(NamedTuple):
    """Training rows that were checked, and where they lie.

    Args:
        asks: Whether some are asked for: not all are plain text.
        path: Where they lie; for standard input, where they will be saved.
        digest: SHA-256 of the file, or of the folder's tables.
        content: What came on standard input, until `keep` has written it.
        notes: Notes for the report.
    """

    asks: bool
    path: Path
    digest: str
    content: bytes | None
    notes: tuple[str, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Read them, one at a time."""
        return each_row(self.path if self.content is None else self.content)

    def keep(self) -> None:
        """Write what came on standard input into the run's folder."""
        if self.content is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, self.content)


def read_data(data: Path | str, out: Path) -> Data:
    """Read the rows of a file, of a folder, or of standard input (`-`); these, and rows in memory, are saved in the run's folder.

    Raises:
        BadInput, MissingExtra: they cannot be read; see `read_rows`.
    """
    if isinstance(data, StandIn):
        content: bytes = data.model
        return Data(_check(content), out / "data.jsonl", data_digest(content), content, ())
    if str(data) != STDIN:
        path = Path(data)
        asks = _check(path)
        split = path.is_dir() and taken_split(path) != path
        notes = (f"{str(path)!r} has several splits; {SPLIT!r} is what is trained on",) if split else ()
        return Data(asks, path, data_digest(path), None, notes)
    content = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    if not content:
        saved = next((out / name for name in KEPT_DATA if (out / name).is_file()), None)
        if saved is None:
            raise BadInput("data is '-' and nothing came on standard input. Pipe rows into it, or name a file")
        return Data(_check(saved), saved, data_digest(saved), None, ())
    return Data(_check(content), out / f"data{suffix_of(content)}", data_digest(content), content, ())


def _check(source: Path | bytes) -> bool:
    """Read all rows, so that what is wrong is known before a base is loaded; whether some are not plain text."""
    return sum("text" not in row for row in each_row(source)) > 0


def given_scout(folder: Path | str, model: Any, base: str) -> tuple[Path, tuple[str, ...]]:
    """Check that a scout can be read and belongs to the base.

    Returns:
        Its folder, and what could not be verified.

    Raises:
        BadInput, ShapeMismatch: see `Adapter.read` and `Adapter.check`.
    """
    return Path(folder), tuple(f"of the scout, {note}" for note in Adapter.read(folder, model).check(model, base))


def write_config(out: Path, arguments: Mapping[str, Any]) -> None:
    """Write a run's arguments so that `despur train --config` repeats it."""
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(private(dict(arguments)), sort_keys=False, allow_unicode=True)
    write_bytes(out / CONFIG, f"# despur train --config {CONFIG} -o NEW_FOLDER\n{text}".encode())


def read_pairs(path: Path | str, tokenizer: Any, max_length: int) -> tuple[Tokenized, Tokenized]:
    """Read paired text: JSON lines, each with a text `with` the trait and one `without`.

    Returns:
        The texts with the trait and those without, as tokens.

    Raises:
        BadInput: the file cannot be read, or a row lacks one of the two.
    """
    encoder = Encoder(tokenizer)
    having: list[tuple[int, ...]] = []
    without: list[tuple[int, ...]] = []
    for where, row in raw_rows(Path(path), str(path)):
        for key, texts in (("with", having), ("without", without)):
            text = row.get(key) if isinstance(row, dict) else None
            if not isinstance(text, str) or not text.strip():
                raise BadInput(
                    f"{where} has no text {key!r}; a pair needs texts 'with' and 'without' the trait. Add it"
                )
            texts.append(tuple(encoder.asked(text)[:max_length]))
    if len(having) < 2:
        raise BadInput(f"{str(path)!r} has {len(having)} pairs; at least 2 are needed. Add some")
    return tuple(having), tuple(without)


def prompt_tokens(text: str, tokenizer: Any, *, chat: bool) -> list[int]:
    """A prompt as it stands in front of a row: a system turn of a chat, plain text elsewhere.

    Raises:
        BadInput: an empty prompt, or a chat template that takes no system turn.
    """
    if not text.strip():
        raise BadInput("the trait's prompt is empty. Give a sentence that asks for the trait: --trait TEXT")
    if not chat:
        return Encoder(tokenizer).plain(text)
    try:
        turn = render([{"role": "system", "content": text}], tokenizer, "the trait's prompt")
    except BadInput as error:
        raise BadInput(
            f"the chat template takes no system turn ({str(error)[:160]}), so the trait's prompt cannot be added. Choose another guard"
        ) from error
    return Encoder(tokenizer).plain(turn)
