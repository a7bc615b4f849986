"""The loss edit that functional guards make from text and a penalty on it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from despur.core import Context, Edit
from despur.core.errors import BadInput
from despur.core.model.own_text import OwnText
from despur.core.model.states import evaluating
from despur.core.text.rows import Tokens, pad_rows
from despur.guard._vocabulary import check_vocabulary


@runtime_checkable
class Term(Protocol):
    """What a functional guard holds constant: caches it once for each row, then measures how far the model is off."""

    def remember(self, model: nn.Module, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"]) -> dict[str, Tensor]:
        """Cache for a batch of rows: tensors (b, t, ...)."""
        ...

    def penalty(
        self, model: nn.Module, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"], cache: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Mean over the tokens of how far the model is off."""
        ...


@final
class HoldOnOwnText(Edit):
    """Add a term's penalty on a few rows of own text to the loss of every step."""

    point = "loss"

    def __init__(self, text: OwnText, term: Term, *, weight: float, rows_per_step: int) -> None:
        super().__init__()
        if rows_per_step < 1:
            raise BadInput(f"rows_per_step={rows_per_step}; at least 1 is needed")
        self.text, self.term, self.weight, self.rows_per_step = text, term, weight, rows_per_step
        self.cache: list[dict[str, Tensor]] = []

    def bind(self, model: nn.Module) -> None:
        """Cache what is needed of base and scout, so that training needs no second forward pass."""
        self.cache = []
        if self.weight == 0:
            return
        device = next(model.parameters()).device
        check_vocabulary(model, self.text.rows, "own text")
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            for start in range(0, len(self.text.rows), 32):
                rows = self.text.rows[start : start + 32]
                ids, mask = (x.to(device) for x in pad_rows(rows, 0))
                cache = self.term.remember(model, ids, mask)
                for i, row in enumerate(rows):
                    self.cache.append({k: v[i, : len(row)].clone() for k, v in cache.items()})

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """`{"loss": loss}` -> the same plus weight x penalty."""
        if self.weight == 0:
            return tensors
        chosen = torch.randint(len(self.text.rows), (self.rows_per_step,), generator=ctx.rng).tolist()
        device = tensors["loss"].device
        ids, mask = (x.to(device) for x in pad_rows([self.text.rows[i] for i in chosen], 0))
        cache = {
            k: nn.utils.rnn.pad_sequence([self.cache[i][k] for i in chosen], batch_first=True) for k in self.cache[0]
        }
        return {**tensors, "loss": tensors["loss"] + self.weight * self.term.penalty(ctx.model, ids, mask, cache)}


def token_mean(values: Float[Tensor, "b t"], mask: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
    """Mean over real tokens; the last of a row predicts nothing that is known, but its distribution counts."""
    return (values * mask).sum() / mask.sum()


def as_text(rows: Sequence[Tokens] | OwnText) -> OwnText:
    """Training rows as text for a guard, each once; own text unchanged."""
    if isinstance(rows, OwnText):
        return rows
    return OwnText(tuple(dict.fromkeys(tuple(r["input_ids"]) for r in rows)), "training rows")
