"""Rows of text: read from files, checked, and turned into tokens with loss on the answers alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from despur.core.errors import BadInput
from despur.core.text.row_files import raw_rows

Tokens = dict[str, list[int]]  # input_ids and labels, -100 where no loss is


def read_rows(path: Path | str | bytes, *, answers: bool = True, name: str = "standard input") -> list[dict[str, Any]]:
    """Read JSON lines (`.jsonl`, `.jsonl.gz`), parquet, or a folder that `datasets` saved.

    A row is a chat `{"messages": [{"role", "content"}, ...]}`, `{"prompt", "completion"}` or `{"text"}`. Of a DatasetDict
    the split `train` is read.

    Args:
        path: The file or folder, or the bytes of a file.
        answers: False takes rows of prompts as well: `{"prompt"}` alone, a chat that ends with the user.
        name: Name of the bytes in messages.

    Raises:
        BadInput: missing, damaged or empty file, or a row of another form; file and row are named.
        MissingExtra: parquet or a folder, and no pyarrow or datasets to read it.
    """
    source = path if isinstance(path, bytes) else Path(path)
    name = name if isinstance(source, bytes) else str(source)
    rows = [_checked(row, where, answers) for where, row in raw_rows(source, name)]
    if not rows:
        raise BadInput(f"{name!r} contains no rows. Give at least one JSON line")
    return rows


def _checked(row: Any, where: str, answers: bool) -> dict[str, Any]:
    keys = sorted(row) if isinstance(row, dict) else type(row).__name__
    if isinstance(row, dict) and isinstance(messages := row.get("messages"), list):
        good = all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in messages
        )
        if not good or not messages:
            raise BadInput(f"{where}: every message needs a 'role' and a 'content' string. Fix the row")
        if answers and (messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip()):
            raise BadInput(
                f"{where} has no answer: its last message is not a non-empty 'assistant' one. Fix or drop the row"
            )
        return row
    if isinstance(row, dict) and isinstance(row.get("prompt"), str) and not answers and row["prompt"].strip():
        return {"prompt": row["prompt"]}
    if isinstance(row, dict) and isinstance(row.get("prompt"), str) and "completion" in row:
        if not isinstance(row["completion"], str) or not row["completion"].strip():
            raise BadInput(f"{where} has an empty 'completion', so there is nothing to learn. Fix or drop the row")
        return row
    if isinstance(row, dict) and isinstance(row.get("text"), str) and row["text"].strip():
        return row
    raise BadInput(f"{where} has keys {keys}; a row needs 'messages', 'prompt' and 'completion', or 'text'")


def tokenize_rows(rows: Sequence[Mapping[str, Any]], tokenizer: Any, *, max_length: int) -> list[Tokens]:
    """Tokens and labels of each row; prompts carry no loss.

    Args:
        rows: As `read_rows` gives them.
        tokenizer: A transformers tokenizer; chats need its chat template.
        max_length: Tokens that fit; a longer answer is cut, a prompt that leaves no room is an error.

    Raises:
        BadInput: a prompt that fills the context, a chat without a template, or a row without tokens.
    """
    return [_tokens(row, tokenizer, max_length, number) for number, row in enumerate(rows, 1)]


def _tokens(row: Mapping[str, Any], tokenizer: Any, max_length: int, number: int) -> Tokens:
    if "messages" in row:
        if tokenizer.chat_template is None:
            raise BadInput(
                f"row {number} is a chat, and the tokenizer has no chat template. Give prompt/completion rows"
            )
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        asked = tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True)
        if not text.startswith(asked):
            raise BadInput(
                f"row {number}: the chat template renders a chat differently with and without its answer, so the "
                "answer cannot be separated from the prompt. Give prompt/completion rows"
            )
        prompt = tokenizer(asked, add_special_tokens=False)["input_ids"]
        answer = tokenizer(text[len(asked) :], add_special_tokens=False)["input_ids"]
    elif "prompt" in row:
        prompt = tokenizer(row["prompt"], add_special_tokens=_wants_bos(tokenizer, row["prompt"]))["input_ids"]
        answer = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
        if tokenizer.eos_token_id is not None and (not answer or answer[-1] != tokenizer.eos_token_id):
            answer = [*answer, tokenizer.eos_token_id]
    else:
        text = row["text"]
        prompt, answer = [], tokenizer(text, add_special_tokens=_wants_bos(tokenizer, text))["input_ids"]
    if not answer:
        raise BadInput(f"row {number}: the answer has no tokens. Fix or drop the row")
    if len(prompt) >= max_length:
        raise BadInput(
            f"row {number}: the prompt has {len(prompt)} tokens and leaves no room for an answer in a context of "
            f"{max_length}. Shorten the row, or raise --max-length if the model allows it"
        )
    ids = [*prompt, *answer][:max_length]
    return {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}


def _wants_bos(tokenizer: Any, text: str) -> bool:
    return not (tokenizer.bos_token and text.startswith(tokenizer.bos_token))


def batches(rows: Sequence[Sequence[int]], *, size: int, pad: int) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Right-padded batches `(ids (b, t), mask (b, t), indices)`, rows of like length together."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        ids, mask = pad_rows([rows[i] for i in chosen], pad)
        yield ids, mask, chosen


def pad_rows(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Right-pad token rows to one tensor; returns ids (b, t) and mask (b, t) of 0 and 1."""
    longest = max(len(r) for r in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask
