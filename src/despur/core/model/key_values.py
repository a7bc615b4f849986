"""Keys and values that a model computes of its tokens, read and exchanged through transformers' own cache."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import DynamicCache

from despur.core.errors import CannotAttach
from despur.core.model.chosen_logits import logits_at

KeyValues = Mapping[int, tuple[Tensor, Tensor]]  # layer -> keys and values, (b, heads, t, d) each


def key_values(
    model: nn.Module,
    ids: Int[Tensor, "b t"],
    mask: Int[Tensor, "b t"] | None = None,
    run: Callable[..., Any] | None = None,
) -> KeyValues:
    """Keys and values of every token at every layer that has some, with their gradients.

    Whatever maps compute them, apart or fused, they are what the layer puts into the cache: keys behind their rotation.

    Args:
        model: A causal language model, in evaluation: one that checkpoints its gradients caches nothing in training.
        ids: Token rows.
        mask: 1 at real tokens; all are real if left out.
        run: What runs the model over them with the arguments it is given; a pass without the head if left out.

    Raises:
        CannotAttach: the model caches no keys and values.
    """
    cache = DynamicCache()
    why = "it left the cache empty"
    try:
        if run is None:
            mask = torch.ones_like(ids) if mask is None else mask
            run = functools.partial(logits_at, model, ids, mask, torch.zeros_like(ids, dtype=torch.bool))
        run(past_key_values=cache, use_cache=True)
    except (AttributeError, TypeError, ValueError) as error:  # a state of its own in place of keys and values
        why = " ".join(str(error).split())[:160]
    layers: Any = cache.layers  # some keep a state of another kind
    pairs = {
        i: (layer.keys, layer.values)
        for i, layer in enumerate(layers)
        if isinstance(layer.keys, Tensor) and isinstance(layer.values, Tensor)
    }
    if not pairs:
        raise CannotAttach(
            f"{type(model).__name__} caches no keys and values of its tokens ({why}). Take a model whose layers attend, or "
            "another guard"
        )
    return pairs


class Exchanged(DynamicCache):
    """A cache in which some positions have the keys and values of another pass over the same rows.

    Args:
        given: What `key_values` gave of that pass.
        where: The positions.
        own: The same of the model itself, where its first positions need not be computed again.
        ready: How many of them; see `ready_columns`.
    """

    def __init__(
        self, given: KeyValues, where: Bool[Tensor, "b t"], own: KeyValues | None = None, ready: int = 0
    ) -> None:
        super().__init__()
        self._given, self._where, self._ready = given, where[:, None, :, None], 0
        for layer, (keys, values) in sorted((own or {}).items()) if ready else ():
            self.update(keys[:, :, :ready], values[:, :, :ready], layer)
        self._ready = ready

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Put a layer's keys and values in, those of the chosen positions from the other pass."""
        keys, values = self._given[layer_idx]
        now = slice(self._ready, self._ready + key_states.shape[-2])
        return super().update(
            torch.where(self._where[:, :, now], keys[:, :, now], key_states),
            torch.where(self._where[:, :, now], values[:, :, now], value_states),
            layer_idx,
            *args,
            **kwargs,
        )


def ready_columns(where: Bool[Tensor, "b t"]) -> int:
    """First positions at which a row has either the other pass's keys and values, or none of them before it.

    There the model's own are what they are without any exchange.

    Example:
        >>> ready_columns(torch.tensor([[0, 1, 1, 0, 0], [0, 1, 1, 1, 0]]).bool())
        3
    """
    before = where.cumsum(1) - where.long() > 0
    computed = (before & ~where).any(0)
    return int(computed.nonzero()[0]) if computed.any() else where.shape[1]
