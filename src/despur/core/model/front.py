"""The tokens that all rows begin with, as a chat template's first ones: read once, for all rows."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from despur.core.errors import CannotAttach
from despur.core.model.anatomy import Anatomy
from despur.core.model.key_values import KeyValues, key_values
from despur.core.text.template import common_start

_LEAST = 4  # tokens: a start token alone is not worth a pass of its own


def shared_front(rows: Sequence[Sequence[int]], starts: Sequence[int] | None) -> tuple[int, ...]:
    """The tokens that all rows begin with, before the first position that counts in any of them; none where they are few.

    Args:
        rows: Token rows.
        starts: First position of each row that counts.

    Example:
        >>> shared_front([(1, 2, 3, 4, 5, 9), (1, 2, 3, 4, 5, 8)], [4, 5])
        (1, 2, 3, 4)
        >>> shared_front([(1, 2, 9), (1, 2, 8)], [2, 2])
        ()
    """
    alike = common_start(rows)[: min(starts)] if starts and len(rows) > 1 else ()
    return alike if len(alike) >= _LEAST else ()


def front_pairs(model: Any, front: Sequence[int]) -> KeyValues | None:
    """Keys and values of these tokens at every layer; None of a model that carries anything else from token to token."""
    device = next(model.parameters()).device
    try:
        pairs = key_values(model, torch.tensor([list(front)], device=device))
        whole = Anatomy.of(model).is_tabled and len(pairs) == Anatomy.of(model).depth
    except CannotAttach:
        return None
    alike = all(keys.shape[-2] == len(front) for keys, _ in pairs.values())
    return pairs if whole and alike else None


def cache_behind(pairs: KeyValues, times: int) -> dict[str, Any]:
    """What a model is called with to go on behind a front.

    Args:
        pairs: Keys and values at every layer, of one row or several.
        times: Rows of text behind each of these, one after the other.
    """
    cache = DynamicCache()
    for layer in sorted(pairs):
        keys, values = pairs[layer]
        cache.update(keys.repeat_interleave(times, 0), values.repeat_interleave(times, 0), layer)
    return {"past_key_values": cache, "use_cache": True}
