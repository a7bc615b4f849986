"""Rows as tokens, with loss on the answers alone; and what a run's notes must say of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from despur.core.text.reader import Reader
from despur.core.text.remarks import notes_of
from despur.core.text.token_rows import TokenRows
from despur.core.text.turns import Turns


@dataclass
class Learned:
    """Rows as tokens.

    Args:
        tokens: Those of each row.
        notes: What was done to them, in sentences.
        shortened: Rows whose answers lost their end.
    """

    tokens: TokenRows
    notes: tuple[str, ...] = ()
    shortened: int = 0


def learn_rows(
    rows: Iterable[Mapping[str, Any]], tokenizer: Any, *, max_length: int, turns: Turns = "all", name: Path | str = ""
) -> Learned:
    """Tokens and labels of each row, prompts without loss, and what was done to the rows.

    Prompt and answer are encoded together, so that an answer's tokens are those of the text and not of the answer alone. Chats are
    learned in the template's form, from where the model is asked to the token that ends the turn; so are prompt and completion where
    the base has a template, unless the prompt is written out in its form already. An end token is added where nothing stops.

    Args:
        rows: As `each_row` or `read_rows` gives them; each is let go of once it is tokens.
        tokenizer: A transformers tokenizer; chats need its chat template.
        max_length: Tokens that fit; a longer answer is cut, a prompt that leaves no room is an error.
        turns: Which of the assistant's turns of a chat carry loss.
        name: The rows' file, for messages.

    Raises:
        BadInput: a prompt that fills the context, a chat without a template or that it refuses, or a row without tokens.
    """
    reader = Reader(tokenizer, turns, f"{name}, " if name else "")
    tokens = TokenRows.of(reader.tokens(row, number, max_length) for number, row in enumerate(rows, 1))
    notes = notes_of(reader.remarks, len(tokens), max_length=max_length, turns=turns, eos=tokenizer.eos_token)
    return Learned(tokens, notes, len(reader.remarks.get("cut", ())))


def ask_rows(rows: Sequence[Mapping[str, Any]], tokenizer: Any, *, name: Path | str = "") -> list[list[int]]:
    """Tokens with which the model is asked for each row's answer: the same that stand in front of it in `learn_rows`.

    Args:
        rows: Chats and prompts, as `read_rows` gives them.
        tokenizer: A transformers tokenizer.
        name: The rows' file, for messages.

    Raises:
        BadInput: the template refuses a chat.
    """
    reader = Reader(tokenizer, name=f"{name}, " if name else "")
    return [reader.asked(row, f"{reader.name}row {number}") for number, row in enumerate(rows, 1)]
