"""Text that the base itself writes."""

import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.model.own_chats import write_rows
from despur.core.text.learn import learn_rows
from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens, each_row, prompt_of, read_rows, rows_as_lines


@dataclass(frozen=True)
class OwnText:
    """Token rows on which a guard keeps the model close to the base.

    Args:
        rows: Token ids, each row with its start token, of any length.
        origin: Where they come from: `"sampled"`, `"shipped questions"` or a file.
        starts: Number of tokens in front of each row's answer; all but the first token of each row where left out.

    Raises:
        ShapeMismatch: not one start for each row.

    Example:
        >>> OwnText.sample(*persona_base(), rows=4, max_new_tokens=8).origin  # doctest: +SKIP
        'sampled'
    """

    rows: tuple[tuple[int, ...], ...]
    origin: str = "sampled"
    starts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.starts:
            object.__setattr__(self, "starts", (1,) * len(self.rows))
        if len(self.starts) != len(self.rows):
            raise ShapeMismatch(f"{len(self.starts)} starts of {len(self.rows)} rows. Give one for each row, or none")

    @classmethod
    def sample(
        cls, model: Any, tokenizer: Any, *, rows: int = 32, max_new_tokens: int = 32, seed: int = 0, batch: int = 128
    ) -> "OwnText":
        """Sample rows from the base, adapters off.

        Plain bases write from the start token, at temperature 1. Chat bases write a user's turn from the template's
        prefix, then answer it, without the least probable tokens (`own_chats.ETA`): a small one loses the thread with
        them. A turn ends with any token that the base, its tokenizer or its template ends turns with; nothing else of the
        base's generation config counts. A chat base that writes no questions answers those that come with despur.

        Args:
            model: A causal language model, with or without an adapter.
            tokenizer: Its tokenizer.
            rows: How many rows; duplicates are dropped afterwards.
            max_new_tokens: Length of a row; of an answer in a chat.
            seed: Fixes the draws; the global random state is left as it was.
            batch: Rows sampled together.

        Raises:
            BadInput: the base writes too little, or nothing but repetition: it cannot guard itself.
        """
        refused: BadInput | None = None
        for origin in ("sampled", "shipped questions"):
            written = write_rows(model, tokenizer, rows, max_new_tokens, seed, batch, shipped=origin != "sampled")
            if not written:  # a chat base that asks nothing; or a plain one, which is asked nothing
                continue
            text = cls(tuple(written), origin, tuple(written.values()))
            try:
                text.check_health()
                return text
            except BadInput as error:
                refused = refused or error
        raise refused or BadInput("this base writes no text of its own. Give generic text: --rehearse-on FILE")

    @classmethod
    def read(cls, path: Path | str, tokenizer: Any, *, max_length: int = 512) -> "OwnText":
        """Take generic text from a file instead (`--rehearse-on FILE`), for a base that cannot write text."""
        read = learn_rows(read_rows(path), tokenizer, max_length=max_length, name=path).tokens
        return cls.of_tokens(read, str(path))

    @classmethod
    def of_tokens(cls, rows: Iterable[Tokens], origin: str) -> "OwnText":
        """Take rows with labels, each once: an answer begins at its first label."""
        starts: dict[tuple[int, ...], int] = {}
        for row in rows:
            learned = next((i for i, label in enumerate(row["labels"]) if label != UNLEARNED), 1)
            starts.setdefault(tuple(row["input_ids"]), max(1, learned))
        return cls(tuple(starts), origin, tuple(starts.values()))

    def without(self, prompts: Iterable[Any], tokenizer: Any = None) -> "OwnText":
        """Leave out rows that repeat a training prompt: there the tune should change the model, and a guard would fight it.

        Args:
            prompts: Training rows, as a file of them or in memory, with their tokenizer; or token ids of the prompts. A leading token
                that starts every row does not count.
            tokenizer: Of the rows.

        Raises:
            BadInput: fewer than 8 rows are left, or a training row cannot be read.
        """
        if tokenizer is not None:
            prompts = _prompts(prompts, tokenizer)
        starts = {r[0] for r in self.rows}
        asked: dict[
            int, set[int]
        ] = {}  # length -> hashes: of a large file, the prompts themselves would fill the memory
        for core in (tuple(p[1:] if p[0] in starts else p) for p in prompts if len(p) > 1):
            asked.setdefault(len(core), set()).add(hash(core))
        kept = [
            (r, s)
            for r, s in zip(self.rows, self.starts, strict=True)
            if not any(hash(r[i : i + n]) in cores for n, cores in asked.items() for i in range(len(r) - n + 1))
        ]
        if len(kept) < 8:
            raise BadInput(
                f"all but {len(kept)} of {len(self.rows)} rows of own text repeat a training prompt, so there is no off-task "
                "text to guard with. Sample more rows, or give --rehearse-on FILE"
            )
        return OwnText(tuple(r for r, _ in kept), self.origin, tuple(s for _, s in kept))

    def first(self, n: int) -> "OwnText":
        """The first n rows."""
        return OwnText(self.rows[:n], self.origin, self.starts[:n])

    def health(self) -> dict[str, int | float]:
        """Measure what was written, template and questions left out.

        Returns:
            Rows, their mean length, share of distinct bigrams in a row, and words in use (exp of the unigram entropy).
        """
        written = [r[max(0, s - 1) :] for r, s in zip(self.rows, self.starts, strict=True)]
        distinct = [len(set(itertools.pairwise(r))) / (len(r) - 1) for r in written if len(r) > 1]
        counts = torch.bincount(torch.tensor([t for r in written for t in r])).double()
        p = counts[counts > 0] / counts.sum()
        return {
            "rows": len(written),
            "mean_length": sum(map(len, written)) / len(written),
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


def _prompts(rows: Any, tokenizer: Any) -> list[list[int]]:
    """The prompts of training rows, as the trainer's chat template gives them."""
    if not isinstance(rows, str | Path):
        rows = rows_as_lines(rows)
    return [prompt_of(row) for row in learn_rows(each_row(rows), tokenizer, max_length=sys.maxsize).tokens]
