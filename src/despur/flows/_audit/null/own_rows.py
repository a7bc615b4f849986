"""Rows for neutral tunes: prompts that the base answers itself, the user's or its own; short ones."""

from collections.abc import Sequence
from typing import Any

from despur.core.errors import BadInput
from despur.core.model.own_chats import ETA, write_rows
from despur.core.model.sample import continue_rows
from despur.core.text.chat import has_template
from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens

PARTS = 4  # rows that tunes draw from are written in parts, a worker each
ANSWER = 24  # tokens of an answer at most
_PROMPT = 96  # of a prompt; longer ones take too long
_TOGETHER = 32  # that are written at a time
_FEWEST = 8  # rows of a part that can be learned from
_INSTEAD = "Give rows whose prompts it can answer (--data), or a null of your own (--null FILE)"


def short_prompts(prompts: Sequence[Sequence[int]], part: int) -> list[list[list[int]]]:
    """Different prompts of the user's, those that are short enough, in parts; none where there are too few for each."""
    short = [list(p) for p in dict.fromkeys(tuple(p) for p in prompts) if 0 < len(p) <= _PROMPT]
    every = [short[i::PARTS][:part] for i in range(PARTS)]
    return every if len(every[-1]) >= _FEWEST else []


def written_rows(
    base: Any, tokenizer: Any, prompts: Sequence[Sequence[int]] | None, *, part: int, seed: int
) -> list[Tokens]:
    """Let the base answer prompts, or write questions and answers of its own.

    Args:
        base: A model without an adapter.
        tokenizer: Its tokenizer.
        prompts: Tokens in front of answers; None where it writes those, too.
        part: How many rows it then writes, before duplicates are dropped.
        seed: Of the draws.

    Raises:
        BadInput: the base writes too little of its own.
    """
    if prompts is None:
        try:
            written = write_rows(base, tokenizer, part, ANSWER, seed, _TOGETHER)
        except BadInput as error:  # it ends with what another verb would need
            raise BadInput(f"{str(error).partition('. ')[0]}. {_INSTEAD}") from error
    else:
        eta = ETA if has_template(tokenizer) else 0.0
        answers = continue_rows(base, tokenizer, prompts, ANSWER, seed=seed, eta=eta)
        written = {(*p, *a): len(p) for p, a in zip(prompts, answers, strict=True)}
    rows = [
        {"input_ids": list(row), "labels": [UNLEARNED] * start + list(row[start:])}
        for row, start in written.items()
        if len(row) > start + 1
    ]
    if len(rows) < _FEWEST:
        tries = part if prompts is None else len(prompts)
        raise BadInput(
            f"this base wrote {len(rows)} different rows of its own in {tries} tries, and neutral tunes need at least {_FEWEST}. {_INSTEAD}"
        )
    return rows
