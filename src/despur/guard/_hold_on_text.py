"""The loss edit that functional guards make from text and a penalty on it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from despur.core import Context, Edit, Site, record
from despur.core.model.capture import fitting_positions, from_starts
from despur.core.model.chosen_logits import logits_at
from despur.core.model.own_text import OwnText
from despur.core.model.states import evaluating
from despur.core.text.rows import Tokens, pad_rows, parts
from despur.guard._budget import check_budget, draw_rows
from despur.guard._lines import joined_lines
from despur.guard._vocabulary import check_vocabulary

LONGEST = 2**13  # counted positions of one pass, whatever the vocabulary


class Batch(NamedTuple):
    """Rows of text as a model reads them.

    Args:
        ids: Token ids, padded on the right.
        mask: 1 where they are real.
        counted: The n positions at which the penalty is measured: those that predict the answer, and the row's last.
    """

    ids: Int[Tensor, "b t"]
    mask: Int[Tensor, "b t"]
    counted: Bool[Tensor, "b t"]


class Term(ABC):
    """What a functional guard holds constant: caches it once for each row, then measures how far the model is off."""

    @abstractmethod
    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        """Cache for each batch of rows, by name (n, ...): a line for each counted position."""

    @abstractmethod
    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Float[Tensor, " n"]:
        """How far the model is off at each counted position."""

    def finish(self, cache: Mapping[str, Tensor]) -> Bool[Tensor, " n"] | None:
        """Read the whole text's cache; says at which lines there is something to hold, None for all."""
        return None


@final
class HoldOnOwnText(Edit):
    """Add a term's penalty on a few rows of own text to the loss of every step."""

    point = "loss"

    def __init__(self, text: OwnText, term: Term, *, weight: float, budget: float) -> None:
        super().__init__()
        check_budget(budget)
        self.text, self.term, self.weight, self.budget = text, term, weight, budget
        self.starts = [max(0, s - 1) for s in text.starts]  # what stands there predicts the answer's first token
        self.counts = [len(r) - s for r, s in zip(text.rows, self.starts, strict=True)]
        self.firsts = [sum(self.counts[:i]) for i in range(len(self.counts))]
        self.cache: dict[str, Tensor] = {}
        self.drawn: list[int] = []  # the rows that may be drawn
        self.room = 0  # counted positions of one pass

    def bind(self, model: nn.Module) -> None:
        """Cache what is needed of base and scout, so that training needs no second forward pass."""
        self.cache, self.drawn = {}, list(range(len(self.text.rows)))
        if self.weight == 0:
            return
        check_vocabulary(model, self.text.rows, "own text")
        self.room = min(LONGEST, fitting_positions(model))
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            alike = sorted(self.drawn, key=lambda i: len(self.text.rows[i]))  # rows of one length need no padding
            several = list(parts(alike, self.counts, self.room))
            device = next(model.parameters()).device
            lines = self.term.remember(model, (self._batch(some, device) for some in several))
            self.cache = joined_lines(map(self._where, several), lines, sum(self.counts))
        active = self.term.finish(self.cache)
        if active is not None and active.any():
            self.drawn = [i for i in self.drawn if active[self._where([i])].any()]

    def _where(self, rows: Sequence[int]) -> Tensor:
        return torch.cat([torch.arange(self.firsts[i], self.firsts[i] + self.counts[i]) for i in rows])

    def _batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        ids, mask = pad_rows([self.text.rows[i] for i in rows], 0)
        counted = mask.bool() & from_starts(mask, rows, self.starts)
        return Batch(ids.to(device), mask.to(device), counted.to(device))

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """`{"loss": loss}` -> the same plus weight x penalty."""
        if self.weight == 0:
            return tensors
        lengths = [len(self.text.rows[i]) for i in self.drawn]
        chosen, stands_for = draw_rows(lengths, self.budget * ctx.tokens, step=ctx.step, rng=ctx.rng)
        if not chosen:
            return tensors
        rows, device = [self.drawn[i] for i in chosen], tensors["loss"].device
        several = list(parts(sorted(rows, key=lambda i: len(self.text.rows[i])), self.counts, self.room))

        def penalty(some: Sequence[int]) -> Tensor:
            cache = {k: v[self._where(some)].to(device) for k, v in self.cache.items()}
            return self.term.penalty(ctx.model, self._batch(some, device), cache).sum()

        # more than fits at once is computed again, part by part, when the gradient is
        sums = [penalty(s) if len(several) == 1 else checkpoint(penalty, s, use_reentrant=False) for s in several]
        mean = torch.stack(sums).sum() / sum(self.counts[i] for i in rows)
        return {**tensors, "loss": tensors["loss"] + self.weight * stands_for * mean}


def stream_at(model: nn.Module, batch: Batch, sites: Sequence[Site]) -> list[Float[Tensor, "n d"]]:
    """The stream at some sites at the counted positions, in float32; no logits are made."""
    with record(model, sites) as seen:
        logits_at(model, batch.ids, batch.mask, torch.zeros_like(batch.counted))
    return [seen[site][batch.counted.to(seen[site].device)].float() for site in sites]


def as_text(rows: Sequence[Tokens] | OwnText) -> OwnText:
    """Training rows as text for a guard, each once, prompts and answers; own text unchanged."""
    if isinstance(rows, OwnText):
        return rows
    return OwnText(tuple(dict.fromkeys(tuple(r["input_ids"]) for r in rows)), "training rows")
