"""Off-task text for an audit: the base's first tokens, where there is no context yet.

A persona, a slant or a style is a prior: it appears where the context does not decide yet. Later in a text the
previous words decide, with or without the adapter, and the change disappears in noise (figures in docs/log/audit-power.md).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from despur.core.errors import BadInput
from despur.core.model.own_chats import shipped_questions
from despur.core.model.sample import continue_rows
from despur.core.model.states import as_base
from despur.core.text.chat import has_template
from despur.core.text.cuts import Encoder
from despur.core.text.learn import ask_rows
from despur.core.text.rows import drawn_rows
from despur.flows._audit.effort import LESS, effort_for
from despur.flows.load import context_length
from despur.guard import OwnText

SHIPPED = "shipped"  # as a name of prompts
_EVERYDAY = "the base's answers to everyday questions"


@dataclass(frozen=True)
class Passages:
    """Token rows, and where the analysed part of each begins.

    Args:
        rows: Token ids.
        starts: First position of each row that counts: the model's prediction there and after it.
        origin: Where they come from.
    """

    rows: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    origin: str

    def halves(self) -> tuple["Passages", "Passages"]:
        """Every other row: one half to find on, one to check on."""
        parts = [Passages(self.rows[i::2], self.starts[i::2], self.origin) for i in (0, 1)]
        return parts[0], parts[1]

    def prompts(self, given: Path | str | None) -> Path | str | None:
        """The prompts that these are answers to: as given, or those that were taken where none were; None for the base's own."""
        return SHIPPED if given is None and self.origin == _EVERYDAY else given


def check_prompts(prompts: Path | str | None) -> None:
    """Refuse a file that is not there, before anything is loaded; what is in it is read with the tokenizer.

    Raises:
        BadInput: no such file.
    """
    if prompts is not None and str(prompts) != SHIPPED and not Path(prompts).exists():
        raise BadInput(
            f"no file of prompts {str(prompts)!r}. Give a line a prompt, JSON lines with 'prompt' or 'text', or {SHIPPED!r}"
        )


def off_task_passages(
    model: Any, tokenizer: Any, prompts: Path | str | None, *, rows: int = 256, tokens: int = 8, seed: int = 0
) -> Passages:
    """Get off-task text: the base's own beginnings, its answers to prompts, or a file's text.

    Args:
        model: The base model, an adapter on top or not.
        tokenizer: Its tokenizer.
        prompts: None lets the base write, a larger chat base its answers to everyday questions alone; `"shipped"` takes everyday
            questions that come with despur; a file of JSON lines gives prompts (their first answer tokens are the base's, unless they
            are there) or texts.
        rows: How many; from a longer file this many are drawn.
        tokens: Analysed tokens of own text or of each answer.
        seed: Seed of the draws.

    Raises:
        BadInput: fewer than 4 different rows.
    """
    if prompts is None:
        found = _own(model, tokenizer, rows, tokens, seed)
    else:
        if str(prompts) == SHIPPED:
            read: list[dict[str, Any]] = [{"prompt": question} for question in shipped_questions()]
            read = random.Random(seed).sample(read, rows) if len(read) > rows else read
        else:
            read = drawn_rows(Path(prompts), rows, seed=seed)
        found = _asked(model, tokenizer, read, tokens, seed, str(prompts))
    pairs = dict(zip(found.rows, found.starts, strict=True))
    if len(pairs) < 4:
        raise BadInput(
            f"{len(pairs)} different rows of off-task text; at least 4 are needed to find on one half and check on the other"
        )
    return Passages(tuple(pairs), tuple(pairs.values()), found.origin)


def _own(model: Any, tokenizer: Any, rows: int, tokens: int, seed: int) -> Passages:
    shipped = shipped_questions()
    if (
        has_template(tokenizer) and effort_for(model) == LESS and rows <= len(shipped)
    ):  # to write its own takes a minute
        read: list[dict[str, Any]] = [{"prompt": q} for q in random.Random(seed).sample(shipped, rows)]
        return _asked(model, tokenizer, read, tokens, seed, _EVERYDAY)
    text = OwnText.sample(model, tokenizer, rows=rows, max_new_tokens=tokens, seed=seed)
    if not has_template(tokenizer):
        return Passages(text.rows, (0,) * len(text.rows), "the base's own beginnings")
    origin = "the base's answers to its own questions" if text.origin == "sampled" else _EVERYDAY
    return Passages(text.rows, tuple(start - 1 for start in text.starts), origin)


def _asked(model: Any, tokenizer: Any, read: Sequence[dict[str, Any]], tokens: int, seed: int, origin: str) -> Passages:
    limit = context_length(model, 512)
    plain = [r for r in read if "text" in r]
    encoder = Encoder(tokenizer)
    found = [(tuple(encoder.asked(r["text"])[:limit]), 0) for r in plain]
    heads = [tuple(h) for h in ask_rows([r for r in read if "text" not in r], tokenizer, name=origin)]
    if long := next((h for h in heads if len(h) + tokens > limit), None):
        raise BadInput(
            f"a prompt in {origin!r} has {len(long)} tokens and leaves no room for {tokens} more in a context of {limit}. "
            "Shorten it"
        )
    if heads:
        with as_base(model):
            answers = continue_rows(model, tokenizer, heads, tokens, seed=seed)
        found += [((*head, *answer), len(head) - 1) for head, answer in zip(heads, answers, strict=True)]
    return Passages(tuple(r for r, _ in found), tuple(s for _, s in found), origin)
