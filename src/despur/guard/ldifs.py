"""LDIFS: hold the residual stream itself at the base's, every few layers."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from despur.core import Anatomy, Edit, Site, method
from despur.core.errors import BadInput
from despur.core.model.own_text import OwnText
from despur.core.model.states import base_now, check_base_stays
from despur.core.text.rows import Tokens
from despur.guard._budget import BUDGET
from despur.guard._hold_on_text import Batch, HoldOnOwnText, Term, as_text, stream_at

WEIGHT = 10.0  # lambda at strength 1


class _KeepStream(Term):
    def __init__(self, every: int) -> None:
        self.every = every
        self.sites: list[Site] = []

    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        check_base_stays(model, "ldifs")
        sites = Anatomy.of(model).sites
        self.sites = sites[self.every - 1 :: self.every] or sites[-1:]
        yield from ({} for _ in batches)

    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Tensor:
        with base_now(model) as base:
            before = stream_at(base, batch, self.sites)
        now = stream_at(model, batch, self.sites)
        # each token and layer in units of its own length: else only the few tokens with massive activations count
        off = [(x - y).square().sum(-1) / y.square().sum(-1).clamp(min=1e-12) for x, y in zip(now, before, strict=True)]
        return torch.stack(off).mean(0)


@method(room="guard", paper="Mukhoti et al. 2023, arXiv:2308.13320", cost=1.4)
def ldifs(rows: Sequence[Tokens] | OwnText, *, strength: float = 1.0, every: int = 5, budget: float = BUDGET) -> Edit:
    """Hold the residual stream at the base's on some rows, whatever the output.

    Feature distance instead of output distance: stricter than `rehearse`, as it also holds what no output shows, and
    it does not know which small changes matter. `hold` does the same for a factor's coordinates alone. Each step pays a forward and
    a backward pass over the tokens that `budget` allows, and a second forward pass of the base.

        loss = task + 10 strength mean_t mean_l ||h - h_base||² / ||h_base||²

    Args:
        rows: Where the stream is compared: the training rows, as in the paper that compares guards, or own text.
        strength: Weight of the penalty; 1 is lambda = 10, 0 leaves training bit-identical.
        every: Distance in layers between compared ones; the last layer where the model has fewer.
        budget: Tokens of these rows in a step, for each token of the task; see `rehearse`.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: `every` is less than 1, or a budget of 0 or less.
        CannotAttach: the model is no PEFT model (raised when training begins).

    Example:
        >>> ldifs(OwnText(((1, 2, 3),))).point
        'loss'

    Source: Mukhoti et al. 2023, arXiv:2308.13320; every fifth layer of a language model, lambda 1: arXiv:2508.06249.
    Differs: relative to the stream's own length, since absolute squares grow with width and depth.
    Limits: as published, on training rows, it left drift where it was (3.6 % against 4.0 %).
    """
    if every < 1:
        raise BadInput(f"every={every}; at least 1 is needed: it is a distance in layers")
    return HoldOnOwnText(as_text(rows), _KeepStream(every), weight=WEIGHT * strength, budget=budget)
