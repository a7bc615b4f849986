"""An adapter's predictions with the base's keys and values at some positions, from no more passes than that takes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from despur.core import Anatomy
from despur.core.model.capture import fitting_batch, from_starts
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.key_values import Exchanged, KeyValues, key_values, ready_columns
from despur.core.model.states import evaluating
from despur.core.text.rows import batches


def patched_passes(
    model: Any, rows: Sequence[Sequence[int]], starts: Sequence[int], where: Mapping[str, Sequence[Sequence[int]]], batch: int | None
) -> Iterator[tuple[str, list[int], Bool[Tensor, "b t"], Float[Tensor, "n v"]]]:  # fmt: skip
    """Log-probabilities from each row's start on: of the base, the adapter, and it with the base's keys and values somewhere."""
    device, depth = next(model.parameters()).device, Anatomy.of(model).depth
    with evaluating(model):
        for ids, mask, chosen in batches(rows, size=batch or fitting_batch(model, rows, starts), pad=0):
            ids, mask = ids.to(device), mask.to(device)
            counted = mask.bool() & from_starts(mask, chosen, starts)
            first = int(counted.any(0).nonzero()[0])
            with model.disable_adapter():
                given, base = _read(model, ids, mask, counted)
            own, adapter = _read(model, ids, mask, counted)
            yield "base", chosen, counted, base
            yield "adapter", chosen, counted, adapter
            for name, positions in where.items():
                at = torch.zeros_like(mask, dtype=torch.bool)
                for i, row in enumerate(chosen):
                    at[i, positions[row]] = True
                ready = min(ready_columns(at), first) if len(own) == depth else 0
                cache = Exchanged(given, at, own, ready)
                rest = ids[:, ready:], mask, counted[:, ready:]
                yield name, chosen, counted, log_probs_at(model, *rest, past_key_values=cache, use_cache=True)


def _read(model: Any, ids: Tensor, mask: Tensor, counted: Tensor) -> tuple[KeyValues, Tensor]:
    """Keys and values of every position, and log-probabilities of the counted ones, in one pass."""
    read: list[Tensor] = []
    pairs = key_values(model, ids, mask, lambda **how: read.append(log_probs_at(model, ids, mask, counted, **how)))
    return pairs, read[0]
