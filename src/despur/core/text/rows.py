"""Rows of text: read from files, checked, and turned into tokens with loss on the answers alone."""

import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from despur.core.errors import BadInput
from despur.core.text.learn import learn_rows
from despur.core.text.reader import UNLEARNED, Tokens
from despur.core.text.row_files import raw_rows
from despur.core.text.row_shapes import checked_row
from despur.core.text.turns import Turns


def read_rows(path: Path | str | bytes, *, answers: bool = True, name: str = "standard input") -> list[dict[str, Any]]:
    """Read JSON lines (`.jsonl`, `.jsonl.gz`), parquet, or a folder that `datasets` saved.

    A row is a chat `{"messages": [{"role", "content"}, ...]}`, `{"prompt", "completion"}` or `{"text"}`; other shapes of these
    are read as one of them, see `checked_row`. Of a DatasetDict the split `train` is read.

    Args:
        path: The file or folder, or the bytes of a file.
        answers: False takes prompts as well: `{"prompt"}` alone, a chat that ends with the user, a line of plain words.
        name: Name of the bytes in messages.

    Raises:
        BadInput: missing, damaged or empty file, or a row of another form; file and row are named.
        MissingExtra: parquet or a folder, and no pyarrow or datasets to read it.
    """
    return list(each_row(path, answers=answers, name=name))


def each_row(
    path: Path | str | bytes, *, answers: bool = True, name: str = "standard input"
) -> Iterator[dict[str, Any]]:
    """Give the rows of `read_rows` one at a time, so that a large file never lies in memory.

    Args:
        path: As there.
        answers: As there.
        name: As there.

    Raises:
        BadInput, MissingExtra: as there, at the row that is wrong.

    Example:
        >>> [row["text"] for row in each_row(b'{"text": "one"}')]
        ['one']
    """
    source = path if isinstance(path, bytes) else Path(path)
    name = name if isinstance(source, bytes) else str(source)
    empty = True
    for where, row in raw_rows(source, name, plain=not answers):
        empty = False
        yield checked_row(row, where, answers=answers)
    if empty:
        raise BadInput(f"{name!r} contains no rows. Give at least one JSON line")


def first_rows(path: Path | str, most: int, *, answers: bool = True) -> list[dict[str, Any]]:
    """Read the first rows of a file, prompts alone among them where no `answers` are needed; all of them are checked.

    Raises:
        BadInput, MissingExtra: see `read_rows`.
    """
    return [row for number, row in enumerate(each_row(path, answers=answers)) if number < most]


def drawn_rows(path: Path, most: int, *, seed: int) -> list[dict[str, Any]]:
    """Draw rows of a file, prompts alone among them: all there are, in their order, where they are no more.

    Raises:
        BadInput, MissingExtra: see `read_rows`.
    """
    count = sum(1 for _ in each_row(path, answers=False))
    chosen = random.Random(seed).sample(range(count), most) if count > most else range(count)
    places = {number: place for place, number in enumerate(chosen)}
    drawn = [(places[n], row) for n, row in enumerate(each_row(path, answers=False)) if n in places]
    return [row for _, row in sorted(drawn, key=lambda pair: pair[0])]


def rows_as_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    r"""Rows in memory as the JSON lines of a file.

    Raises:
        BadInput: something in them is no plain text, number or list of these.

    Example:
        >>> rows_as_lines([{"text": "one"}])
        b'{"text": "one"}\n'
    """
    try:
        return "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"the rows in memory are not plain text and lists of it: {error}. Write them as JSON lines"
        ) from error


def tokenize_rows(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, *, max_length: int, turns: Turns = "all"
) -> list[Tokens]:
    """Tokens and labels of each row; prompts carry no loss. `learn_rows` also says what was done to them.

    Args:
        rows: As `read_rows` gives them.
        tokenizer: A transformers tokenizer; chats need its chat template.
        max_length: Tokens that fit; a longer answer is cut, a prompt that leaves no room is an error.
        turns: Which of the assistant's turns of a chat carry loss.

    Raises:
        BadInput: see `learn_rows`.
    """
    return list(learn_rows(rows, tokenizer, max_length=max_length, turns=turns).tokens)


def prompt_of(row: Tokens) -> list[int]:
    """Tokens in front of a row's first answer.

    Example:
        >>> prompt_of({"input_ids": [1, 2, 3, 4, 5], "labels": [-100, -100, 3, -100, 5]})
        [1, 2]
    """
    return [
        i
        for i, _ in itertools.takewhile(
            lambda pair: pair[1] == UNLEARNED, zip(row["input_ids"], row["labels"], strict=True)
        )
    ]


def batches(rows: Sequence[Sequence[int]], *, size: int, pad: int) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Right-padded batches `(ids (b, t), mask (b, t), indices)`, rows of like length together."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        ids, mask = pad_rows([rows[i] for i in chosen], pad)
        yield ids, mask, chosen


def parts(rows: Sequence[int], sizes: Sequence[int], room: int) -> Iterator[list[int]]:
    """Split rows, in their order, into parts whose sizes sum to no more than the room; a row alone may be larger.

    Example:
        >>> list(parts([0, 1, 2, 3], [4, 4, 4, 9], 8))
        [[0, 1], [2], [3]]
    """
    part: list[int] = []
    for row in rows:
        if part and sum(sizes[i] for i in part) + sizes[row] > room:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def pad_rows(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Right-pad token rows to one tensor; returns ids (b, t) and mask (b, t) of 0 and 1."""
    longest = max(len(r) for r in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask
