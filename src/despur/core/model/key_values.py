"""Keys and values that a model computes of its tokens, read and exchanged through transformers' own cache."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import DynamicCache

from despur.core.errors import CannotAttach

KeyValues = Mapping[int, tuple[Tensor, Tensor]]  # layer -> keys and values, (b, heads, t, d) each


def key_values(model: nn.Module, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"] | None = None) -> KeyValues:
    """Keys and values of every token at every layer that has some, with their gradients.

    Whatever maps compute them, apart or fused, they are what the layer puts into the cache: keys behind their rotation.

    Args:
        model: A causal language model, in evaluation: one that checkpoints its gradients caches nothing in training.
        ids: Token rows.
        mask: 1 at real tokens; all are real if left out.

    Raises:
        CannotAttach: the model caches no keys and values.
    """
    cache = DynamicCache()
    why = "it left the cache empty"
    try:
        model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids) if mask is None else mask,
            past_key_values=cache,
            use_cache=True,
        )
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
    """

    def __init__(self, given: KeyValues, where: Bool[Tensor, "b t"]) -> None:
        super().__init__()
        self._given, self._where = given, where[:, None, :, None]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Put a layer's keys and values in, those of the chosen positions from the other pass."""
        keys, values = self._given[layer_idx]
        return super().update(
            torch.where(self._where, keys, key_states),
            torch.where(self._where, values, value_states),
            layer_idx,
            *args,
            **kwargs,
        )
