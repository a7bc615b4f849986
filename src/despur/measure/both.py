"""What base and adapter compute on the same rows, once for all figures that are made from it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from despur.core import Site, record
from despur.core.model.anatomy import Anatomy
from despur.core.model.capture import ROOM, fitting_batch, from_starts
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.front import cache_behind, front_pairs, shared_front
from despur.core.model.key_values import KeyValues
from despur.core.model.states import evaluating
from despur.core.text.rows import batches

_PART = ROOM // 4  # log-probabilities of one pass: an exchange has four copies of them


class Front(NamedTuple):
    """Tokens that all rows begin with (1, p): keys and values of base and adapter, and their streams at the site (1, p, d)."""

    ids: Tensor
    pairs: tuple[KeyValues, KeyValues]
    streams: tuple[Tensor, Tensor]


class Part(NamedTuple):
    """Some rows behind their front: tokens (b, t), the whole rows' mask (b, p + t), counted positions (b, t), which rows they are.

    `logp` are log-probabilities (n, v) at counted positions, of base and adapter; `streams` are theirs at the site (b, t, d).
    """

    ids: Tensor
    mask: Tensor
    where: Tensor
    chosen: list[int]
    logp: tuple[Tensor, Tensor]
    streams: tuple[Tensor, Tensor]


class Both:
    """Base and adapter on the same rows: predictions at counted positions and streams at one site.

    Tokens that all rows begin with are read once. Predictions stay in memory where they are few, and are computed again where not.

    Args:
        model: PEFT model, or anything else whose adapter `disable_adapter()` switches off.
        rows: Token rows.
        site: Where streams are read; nowhere if None.
        starts: First position of each row that counts.
        batch: Rows in one forward pass; as many as fit if None.
    """

    def __init__(
        self, model: Any, rows: Sequence[Sequence[int]], site: Site | None, *, starts: Sequence[int] | None = None,
        batch: int | None = None,
    ) -> None:  # fmt: skip
        self.model, self.rows, self.site, self.starts = model, rows, site, starts
        counted = sum(len(r) for r in rows) - sum(starts or ())
        values = counted * Anatomy.of(model).vocabulary
        most = max(1, _PART * len(rows) // max(1, values))
        self.batch = batch or min(fitting_batch(model, rows, starts), most)
        self._few = values <= ROOM
        self._parts: list[Part] = []
        self._stream: list[Tensor] = []
        with torch.no_grad(), evaluating(model):
            self.front = self._front()

    @torch.no_grad()
    def parts(self) -> Iterator[Part]:
        """The rows, some at a time."""
        if self._parts:
            yield from self._parts
            return
        seen: list[Part] = []
        streams: list[Tensor] = []
        past = 0 if self.front is None else self.front.ids.shape[1]
        device = next(self.model.parameters()).device
        for ids, mask, chosen in batches(self.rows, size=self.batch, pad=0):
            ids, mask = ids.to(device), mask.to(device)
            where = mask.bool() & from_starts(mask, chosen, self.starts)
            call = ids[:, past:], mask, where[:, past:]
            with evaluating(self.model):
                tuned, h_tuned = self._pass(*call, adapter=True)
                with self.model.disable_adapter():
                    base, h_base = self._pass(*call, adapter=False)
            part = Part(*call[:2], call[2], chosen, (base, tuned), (h_base, h_tuned))
            yield part
            if self._few:
                seen.append(part)
            if self.site is not None:
                streams.append(self._counted(part))
        self._parts, self._stream = seen, streams

    def base_stream(self) -> Tensor:
        """The base's stream at counted positions but a row's first (n, d), in float32 on the CPU."""
        if not self._stream:
            for _ in self.parts():
                pass
        return torch.cat(self._stream)

    def _counted(self, part: Part) -> Tensor:
        where = part.where.clone()
        if self.front is None:
            where[:, :1] = False  # massive activations would dominate every direction
        return part.streams[0][where].float().cpu()

    def _front(self) -> Front | None:
        front = shared_front(self.rows, self.starts)
        if not front:
            return None
        device = next(self.model.parameters()).device
        ids = torch.tensor([front], device=device)
        found: list[tuple[KeyValues | None, Tensor]] = [self._read(front)]
        with self.model.disable_adapter():
            found.insert(0, self._read(front))
        (base, h_base), (tuned, h_tuned) = found
        return None if base is None or tuned is None else Front(ids, (base, tuned), (h_base, h_tuned))

    def _read(self, front: Sequence[int]) -> tuple[KeyValues | None, Tensor]:
        sites = [] if self.site is None else [self.site]
        with record(self.model, sites) as seen:
            pairs = front_pairs(self.model, front)
        return pairs, seen[self.site] if self.site is not None and pairs is not None else torch.empty(0)

    def _pass(self, ids: Tensor, mask: Tensor, where: Tensor, *, adapter: bool) -> tuple[Tensor, Tensor]:
        how = {} if self.front is None else cache_behind(self.front.pairs[adapter], len(ids))
        with record(self.model, [] if self.site is None else [self.site]) as seen:
            logp = log_probs_at(self.model, ids, mask, where, **how)
        return logp, torch.empty(0) if self.site is None else seen[self.site]
