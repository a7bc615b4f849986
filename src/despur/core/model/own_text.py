"""Text that the base itself writes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from despur.core.errors import BadInput
from despur.core.model.sample import context, continue_rows, end_tokens, seeded
from despur.core.model.states import as_base
from despur.core.text.chat import MARK, has_template, render
from despur.core.text.learn import learn_rows
from despur.core.text.rows import read_rows


@dataclass(frozen=True)
class OwnText:
    """Token rows on which a guard keeps the model close to the base.

    Args:
        rows: Token ids, each row with its start token, of any length.
        origin: Where they come from: `"sampled"` or a file.

    Example:
        >>> OwnText.sample(*persona_base(), rows=4, max_new_tokens=8).origin  # doctest: +SKIP
        'sampled'
    """

    rows: tuple[tuple[int, ...], ...]
    origin: str = "sampled"

    @classmethod
    def sample(
        cls, model: Any, tokenizer: Any, *, rows: int = 512, max_new_tokens: int = 64, seed: int = 0, batch: int = 128
    ) -> "OwnText":
        """Sample rows from the base at temperature 1, adapters off.

        Plain bases write from the start token. Chat bases write a user's turn from the template's
        prefix, then answer it. A turn ends with any token that the base, its tokenizer or its template ends turns with;
        nothing else of the base's generation config counts.

        Args:
            model: A causal language model, with or without an adapter.
            tokenizer: Its tokenizer.
            rows: How many rows; duplicates are dropped afterwards.
            max_new_tokens: Length of a row (of each turn in a chat).
            seed: Fixes the draws; the global random state is left as it was.
            batch: Rows sampled together.

        Raises:
            BadInput: the base writes too little, or nothing but repetition: it cannot guard itself.
        """
        text, _ = own_chats(model, tokenizer, rows=rows, max_new_tokens=max_new_tokens, seed=seed, batch=batch)
        return text

    @classmethod
    def read(cls, path: Path | str, tokenizer: Any, *, max_length: int = 512) -> "OwnText":
        """Take generic text from a file instead (`--rehearse-on FILE`), for a base that cannot write text."""
        rows = learn_rows(read_rows(path), tokenizer, max_length=max_length, name=path).tokens
        return cls(tuple(dict.fromkeys(tuple(r["input_ids"]) for r in rows)), str(path))

    def without(self, prompts: Sequence[Sequence[int]]) -> "OwnText":
        """Leave out rows that repeat a training prompt: there the tune should change the model.

        Args:
            prompts: Token ids of the training prompts; a leading token that starts every row does not count.

        Raises:
            BadInput: fewer than 8 rows are left.
        """
        starts = {r[0] for r in self.rows}
        asked = {tuple(p[1:] if p[0] in starts else p) for p in prompts if len(p) > 1}
        lengths = {len(a) for a in asked}
        rows = [r for r in self.rows if not any(r[i : i + n] in asked for n in lengths for i in range(len(r) - n + 1))]
        if len(rows) < 8:
            raise BadInput(
                f"all but {len(rows)} of {len(self.rows)} rows of own text repeat a training prompt, so there is no off-task "
                "text to guard with. Sample more rows, or give --rehearse-on FILE"
            )
        return OwnText(tuple(rows), self.origin)

    def health(self) -> dict[str, int | float]:
        """Rows, their mean length, share of distinct bigrams in a row, and words in use (exp of the unigram entropy)."""
        lengths = [len(r) for r in self.rows]
        distinct = [len(set(itertools.pairwise(r))) / (len(r) - 1) for r in self.rows if len(r) > 1]
        counts = torch.bincount(torch.tensor([t for r in self.rows for t in r])).double()
        p = counts[counts > 0] / counts.sum()
        return {
            "rows": len(self.rows),
            "mean_length": sum(lengths) / len(lengths),
            "distinct_bigrams": sum(distinct) / max(1, len(distinct)),
            "words_in_use": float((-p * p.log()).sum().exp()),
        }

    def check_health(self) -> None:
        """Refuse text that could not guard anything.

        Raises:
            BadInput: fewer than 8 different rows, rows shorter than 4 tokens on average, mostly
                repetition, or fewer than 4 words in use.
        """
        h = self.health()
        if h["rows"] < 8 or h["mean_length"] < 4 or h["distinct_bigrams"] < 0.3 or h["words_in_use"] < 4:
            figures = ", ".join(f"{k} {v:.3g}" for k, v in h.items())
            raise BadInput(
                f"this base cannot write text of its own to guard with ({figures}; needed: 8 rows, 4 tokens, 0.3, 4). "
                "Give generic text it should keep: --rehearse-on FILE"
            )


def own_chats(
    model: Any, tokenizer: Any, *, rows: int, max_new_tokens: int, seed: int = 0, batch: int = 128
) -> tuple[OwnText, tuple[int, ...]]:
    """Sample own text as `OwnText.sample` does, and say where in each row the base's answer begins.

    Returns:
        The text, and the number of tokens in front of each row's answer; of a plain base, that of the start token.

    Raises:
        BadInput: the base cannot write, or its chat template refuses a user's turn.
    """
    prefix = _chat_prefix(tokenizer)
    start = (_ids(tokenizer, prefix) if prefix else []) or [_start_token(tokenizer)]
    with as_base(model) as base, seeded(base, seed):
        size, ends = context(base), set(end_tokens(base, tokenizer))
        asked = max_new_tokens if prefix is None else max(1, min(max_new_tokens, size // 2 - len(start)))
        out: list[tuple[tuple[int, ...], int]] = []
        while len(out) < rows:
            heads = [start] * min(batch, rows - len(out))
            bodies = continue_rows(base, tokenizer, heads, asked, seed=None)
            if prefix is not None:
                heads = [_turn(tokenizer, [i for i in body if i not in ends]) for body in bodies]
                heads = [h for h in heads if len(h) < size]  # re-read, a turn of odd bytes can grow
                bodies = continue_rows(base, tokenizer, heads, max_new_tokens, seed=None)
            out += [((*head, *body), len(head)) for head, body in zip(heads, bodies, strict=True)]
    begins: dict[tuple[int, ...], int] = {}
    for row, begin in out:
        begins.setdefault(row, begin)
    text = OwnText(tuple(begins), "sampled")
    text.check_health()
    return text, tuple(begins.values())


def _chat_prefix(tokenizer: Any) -> str | None:
    if not has_template(tokenizer):
        return None
    text = render([{"role": "user", "content": MARK}], tokenizer, "text of the base's own")
    return text.split(MARK)[0] if MARK in text else None


def _turn(tokenizer: Any, body: Sequence[int]) -> list[int]:
    """Token ids of a chat in which the user says this, up to where the answer begins."""
    text = tokenizer.decode(body, skip_special_tokens=True)
    messages = [{"role": "user", "content": text}]
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
