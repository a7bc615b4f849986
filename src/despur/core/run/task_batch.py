"""The task's batch, read from what the trainer calls the model with."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from despur.core.errors import CannotAttach

_ROWS = ("input_ids", "attention_mask", "labels")  # what a batch edit gets, and gives back


def tokens_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Tokens of a batch, padding included; 0 where it has no form that is known."""
    found = (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args[:1])
    given = next((x for x in found if isinstance(x, Tensor) and x.ndim > 1), None)
    return 0 if given is None else given.shape[0] * given.shape[1]


def rows_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The batch as an edit gets it; a mask is made where there is none."""
    if args or not all(isinstance(kwargs.get(key), Tensor) for key in ("input_ids", "labels")):
        raise CannotAttach(
            "a batch guard needs a model that is called with input_ids= and labels=, and that computes the loss itself: no "
            "label smoothing, no loss function of the trainer's own, no GRPO"
        )
    if kwargs["labels"].shape != kwargs["input_ids"].shape:
        raise CannotAttach(
            f"a batch guard changes rows of text with a label a token, and these labels have shape {tuple(kwargs['labels'].shape)}: a "
            "classifier or a reward model. Guard the language model that it is made from"
        )
    other = [k for k, v in kwargs.items() if k not in _ROWS and isinstance(v, Tensor) and v.ndim > 0]
    if other:
        raise CannotAttach(
            f"a batch guard cannot change the rows where the trainer also gives {', '.join(sorted(other))}. Switch packing "
            "and padding_free off"
        )
    ids = kwargs["input_ids"]
    mask = kwargs.get("attention_mask")
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids) if mask is None else mask,
        "labels": kwargs["labels"],
    }
