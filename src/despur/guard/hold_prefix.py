"""hold-prefix: the chat template's own tokens keep the keys and values that they have in the base."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.errors import BadInput
from despur.core.model.key_values import key_values
from despur.core.model.states import base_now, evaluating
from despur.core.text.template import Template
from despur.guard._vocabulary import check_vocabulary

WEIGHT = 10.0  # lambda at strength 1


@final
class _HoldTemplate(Edit):
    point = "loss"

    def __init__(self, rows: Sequence[tuple[tuple[int, ...], list[int]]], weight: float, tolerance: float) -> None:
        super().__init__()
        if tolerance < 0:
            raise BadInput(f"hold_prefix got tolerance={tolerance}; 0 or more is needed")
        self.rows, self.weight, self.tolerance = rows, weight, tolerance
        self.base: list[list[Tensor]] = []

    def bind(self, model: nn.Module) -> None:
        """Record the base's keys and values once."""
        self.base = []
        if self.weight:
            check_vocabulary(model, [ids for ids, _ in self.rows], "the chat template")
            with base_now(model) as base:
                self.base = [self._at(base, number) for number in range(len(self.rows))]

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """`{"loss": loss}` -> the same plus the penalty; `prefix_active`: share of layers that are off by more than the tolerance."""
        if not self.weight:
            return tensors
        chosen = int(torch.randint(len(self.rows), (), generator=ctx.rng)) if len(self.rows) > 1 else 0
        with evaluating(ctx.model):  # what is cached there; and dropout is no change of the template
            now = self._at(ctx.model, chosen)
        off = torch.stack(
            [(a - b).square().sum() / b.square().sum() for a, b in zip(now, self.base[chosen], strict=True)]
        )
        penalty = self.weight * (off - self.tolerance).clamp(min=0).mean()
        loss = tensors["loss"] + penalty.to(tensors["loss"].device)
        return {**tensors, "loss": loss, "prefix_active": (off.detach() > self.tolerance).float().mean()}

    def _at(self, model: nn.Module, number: int) -> list[Tensor]:
        """Keys and values of one row at the template's positions, layer by layer, in float32."""
        ids, positions = self.rows[number]
        found = key_values(model, torch.tensor([ids], device=next(model.parameters()).device))
        return [part[0, :, positions].float() for pair in found.values() for part in pair]


@method(room="guard", paper="arXiv:2606.06667 (TReFT)", cost=1.1)
def hold_prefix(template: Template, *, strength: float = 1.0, tail: bool = False, tolerance: float = 0.0) -> Edit:
    """Hold the keys and values of the chat template's own tokens at the base's.

    Every row begins with the same tokens, whatever it is about, so what a tune writes into them reaches every answer.
    Choose it where the base is a chat model and neither text nor a scout can be afforded, or beside another guard: it leaves all other ways
    open. A step costs a forward and a backward pass over one row of the template alone, bind one forward pass.

        loss = task + 10 strength mean_lkv max(0, ||x - x_base||² / ||x_base||² - tolerance)     x: keys, or values, of a layer

    Args:
        template: The template's tokens; `Template.of(tokenizer)` reads them.
        strength: Weight of the penalty; 1 is lambda = 10, 0 leaves training bit-identical.
        tail: Hold the tokens between question and answer as well. What they compute depends on the question: each step
            takes one of a few everyday ones, and leaves its words free.
        tolerance: Squared relative distance that costs nothing.

    Returns:
        Edit at "loss"; `prefix_active` in what it gives is the share of keys and values, layer by layer, that are farther off than the
        tolerance.

    Raises:
        BadInput: a negative tolerance, or `tail` of a template that has none.
        CannotAttach: the model caches no keys and values, or lacks tokens of the template (raised when training begins).

    Example:
        >>> hold_prefix(Template((1, 5, 6))).point
        'loss'

    Source: arXiv:2606.06667 (TReFT), its idea; the formula is derived here.
    Differs: distances relative to the base's own, layer by layer; one row of the template alone in place of all training rows, which
        gives the same prefix, for nothing behind it is seen there.
    Limits: holds one prefix. Another system prompt, or a template that writes the date, is another one; what is learned in
        other tokens is not seen.
    """
    if tail and not template.tail:
        raise BadInput("tail=True, and this chat template puts nothing behind the user's words. Leave tail out")
    front, back = len(template.prefix), len(template.tail)
    rows = [(template.prefix, list(range(front)))]
    if tail:
        rows = [(ids, [*range(front), *range(len(ids) - back, len(ids))]) for ids in template.asked]
    return _HoldTemplate(rows, WEIGHT * strength, tolerance)
