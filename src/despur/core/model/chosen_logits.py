"""Next-token predictions at chosen positions alone: the backbone reads every token, the head only those."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from despur.core.model.states import bare


def logits_at(
    model: nn.Module, ids: Int[Tensor, "b t"], mask: Tensor, where: Bool[Tensor, "b t"], **how: Any
) -> Float[Tensor, "n v"]:
    """Logits at some positions of a batch, row after row.

    A hook gathers the positions in front of the head, so whatever the model does behind it (soft caps, a scale) is done to them,
    and logits of the others are never made. A model without a head of its own computes all, of which some are taken.

    Args:
        model: A causal language model, with or without an adapter.
        ids: Token ids.
        mask: 1 where they are real, (b, t) and more behind a cache; or one of four dimensions, as the model takes it.
        where: The n positions that are asked about; none at all runs the backbone alone.
        **how: What else the model is called with.
    """
    head, gathered = _head(model), False

    def gather(_: nn.Module, args: tuple[Any, ...]) -> Any:
        nonlocal gathered
        if not args or args[0].shape[:-1] != where.shape:
            return None
        gathered = True
        return (args[0][where.to(args[0].device)][None], *args[1:])

    hook = head.register_forward_pre_hook(gather) if head is not None else None
    try:
        logits = model(input_ids=ids, attention_mask=mask, **how).logits
    finally:
        if hook is not None:
            hook.remove()
    return logits[0] if gathered else logits[where.to(logits.device)]


def log_probs_at(
    model: nn.Module, ids: Int[Tensor, "b t"], mask: Tensor, where: Bool[Tensor, "b t"], **how: Any
) -> Float[Tensor, "n v"]:
    """Log-probabilities of the next token at some positions, in float32; see `logits_at`."""
    return torch.log_softmax(logits_at(model, ids, mask, where, **how).float(), -1)


def _head(model: nn.Module) -> nn.Module | None:
    inside = bare(model)
    find = getattr(inside, "get_output_embeddings", None)
    head: Any = find() if callable(find) else None
    return head
