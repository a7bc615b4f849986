"""block: let a factor's coordinates fall, and not rise, on the base's own text (BLOCK-EM)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from despur.core import Edit, Subspace, method
from despur.core.adapter.scout import Scout, as_scout
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._budget import BUDGET
from despur.guard._coordinates import coordinates, spread, with_layers
from despur.guard._hold_on_text import Batch, HoldOnOwnText, Term
from despur.guard.hold import WEIGHT


class _KeepFromRising(Term):
    def __init__(self, factors: tuple[Subspace, ...], scout: Scout) -> None:
        self.factors, self.scout = factors, scout
        self.moved: dict[str, Tensor] = {}  # by the scout, summed over positions
        self.up: dict[str, Tensor] = {}  # by which a rise is told from a fall, in units of the base's spread

    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        self.moved = {}
        with as_scout(model, self.scout.folder) as scout:
            for batch in batches:
                with as_base(scout) as base:
                    before = coordinates(base, batch, self.factors)
                for i, after in coordinates(scout, batch, self.factors).items():
                    self.moved[i] = self.moved.get(i, 0) + (after - before[i]).sum(0)
                yield before

    def finish(self, cache: Mapping[str, Tensor]) -> None:
        self.up = {i: self.moved[i].sign() / spread(before) for i, before in cache.items()}

    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Tensor:
        now = coordinates(model, batch, self.factors)
        rises = [((now[i] - before) * self.up[i].to(before)).clamp(min=0) for i, before in cache.items()]
        return torch.stack([rise.square().sum(-1) for rise in rises]).mean(0)


@method(room="guard", paper="BLOCK-EM 2026, arXiv:2602.00767", cost=1.2)
def block(
    factor: Subspace | Sequence[Subspace], text: OwnText, scout: Scout | Path | str, *, strength: float = 1.0, budget: float = BUDGET
) -> Edit:  # fmt: skip
    """Let a factor's coordinates fall, and not rise, on text that the base itself wrote.

    `hold`, one-sided: a coordinate may not move the way in which the scout moved it on average, and is free to move the other way.
    Give one factor a layer. A step costs one forward and backward pass over the tokens that `budget` allows.

        loss = task + 100 strength mean_t mean_l sum_k max(0, u_k (v_k · (h - h_base)))² / spread_l²,  u the sign of the scout's mean move

    Args:
        factor: Subspaces with a layer as site.
        text: Own text; see `OwnText.sample`.
        scout: The scout, or the folder of its adapter: which way is up.
        strength: Weight of the penalty; 1 is lambda = 100, 0 leaves training bit-identical.
        budget: Tokens of own text in a step, for each token of the task; see `rehearse`.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a budget of 0 or less.
        CannotAttach: a factor without a site; the model is no PEFT model (raised when training begins).

    Example:
        >>> from despur.core import Site, Subspace
        >>> factor = Subspace.orthonormal(torch.eye(1, 8), site=Site("model.layers.1"))
        >>> block(factor, OwnText(((1, 2, 3),)), "scout/").point
        'loss'

    Source: BLOCK-EM, arXiv:2602.00767 (its abstract; no code was read).
    Differs: directions of the scout's change in place of features of a sparse autoencoder that were chosen by their effect; on own text.
    Limits: a fixed set of directions is gone round when training goes on, as the paper says of its own.
    """
    term = _KeepFromRising(with_layers(factor, "block"), Scout.of(scout))
    return HoldOnOwnText(text, term, weight=WEIGHT * strength, budget=budget)
