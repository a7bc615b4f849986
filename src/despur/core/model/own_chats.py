"""What a base writes when nobody asks it for anything: a plain one from its start token, a chat base questions and answers."""

import json
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from despur.core.errors import BadInput
from despur.core.model.sample import context, continue_rows, end_tokens, seeded
from despur.core.model.states import as_base
from despur.core.text.chat import MARK, has_template, render

ETA = 0.02  # tokens less probable than this are not drawn: with nothing cut, a small chat base rambles
QUESTION = 40  # tokens of a question at most
TRIES = 3  # times as many questions are drawn as are needed, until enough of them have come to an end

Row = tuple[int, ...]


def write_rows(
    model: Any, tokenizer: Any, rows: int, max_new_tokens: int, seed: int, batch: int, *, shipped: bool = False
) -> dict[Row, int]:
    """Let the base write different rows; each with the number of tokens in front of its answer, 1 in a plain base's.

    Args:
        model: A causal language model, with or without an adapter.
        tokenizer: Its tokenizer.
        rows: How many, before duplicates are dropped.
        max_new_tokens: Length of a plain base's row; of an answer.
        seed: Fixes the draws.
        batch: Rows sampled together.
        shipped: Answer the questions that come with despur in place of the base's own; nothing is written by a plain base.

    Raises:
        BadInput: the tokenizer has no start token, or its chat template refuses a user's turn.
    """
    prefix = _prefix(tokenizer)
    start = (_ids(tokenizer, prefix) if prefix else []) or [_start_token(tokenizer)]
    written: dict[Row, int] = {}
    with as_base(model) as base, seeded(base, seed):
        if prefix is None:
            for n in () if shipped else _parts(rows, batch):
                for body in continue_rows(base, tokenizer, [start] * n, max_new_tokens, seed=None):
                    written.setdefault((*start, *body), 1)
            return written
        questions = shipped_questions() if shipped else _own_questions(base, tokenizer, start, rows, batch)
        heads = [h for q in questions[:rows] if len(h := _asked(tokenizer, q)) < context(base)]
        for at in range(0, len(heads), batch):
            some = heads[at : at + batch]
            bodies = continue_rows(base, tokenizer, some, max_new_tokens, seed=None, eta=ETA)
            for head, body in zip(some, bodies, strict=True):
                written.setdefault((*head, *body), len(head))
    return written


def shipped_questions() -> list[str]:
    """Everyday questions that come with despur.

    Example:
        >>> shipped_questions()[1]
        'How do I boil an egg?'
    """
    lines = resources.files("despur.core.text").joinpath("everyday_questions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["prompt"] for line in lines.splitlines()]


def _own_questions(base: Any, tokenizer: Any, start: Sequence[int], rows: int, batch: int) -> list[str]:
    """Different questions that the base asks itself; such as do not come to an end only where too few do."""
    room = max(1, min(QUESTION, context(base) // 2 - len(start)))
    ends, whole, cut, drawn = set(end_tokens(base, tokenizer)), dict[str, None](), dict[str, None](), 0
    while len(whole) < rows and drawn < TRIES * rows:
        heads = [start] * min(batch, TRIES * rows - drawn)
        drawn += len(heads)
        for body in continue_rows(base, tokenizer, heads, room, seed=None, eta=ETA):
            text = tokenizer.decode([i for i in body if i not in ends], skip_special_tokens=True).strip()
            (whole if body[-1] in ends else cut).setdefault(text)
        if not whole and drawn >= rows:  # it never ends a turn, and will not learn it here
            break
    return [*whole, *(text for text in cut if text not in whole)][:rows]


def _parts(n: int, size: int) -> Iterator[int]:
    yield from (min(size, n - at) for at in range(0, n, size))


def _prefix(tokenizer: Any) -> str | None:
    if not has_template(tokenizer):
        return None
    text = render([{"role": "user", "content": MARK}], tokenizer, "text of the base's own")
    return text.split(MARK)[0] if MARK in text else None


def _asked(tokenizer: Any, question: str) -> list[int]:
    """Token ids of a chat in which the user asks this, up to where the answer begins."""
    messages = [{"role": "user", "content": question}]
    return _ids(tokenizer, render(messages, tokenizer, "text of the base's own", ask=True))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _start_token(tokenizer: Any) -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return token
    raise BadInput(
        "the tokenizer has neither a start nor an end token, so nothing can be sampled. Use --rehearse-on FILE"
    )
