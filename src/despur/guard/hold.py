"""hold: keep only a factor's coordinates where the base has them, on the base's own text."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from despur.core import Edit, Subspace, method
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._budget import BUDGET
from despur.guard._coordinates import coordinates, spread, with_layers
from despur.guard._hold_on_text import Batch, HoldOnOwnText, Term

WEIGHT = 100.0  # lambda at strength 1


class _KeepCoordinates(Term):
    def __init__(self, factors: tuple[Subspace, ...]) -> None:
        self.factors = factors
        self.spread: list[float] = []

    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        with as_base(model) as base:
            for batch in batches:
                yield coordinates(base, batch, self.factors)

    def finish(self, cache: Mapping[str, Tensor]) -> None:
        self.spread = [spread(c) for c in cache.values()]

    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Tensor:
        now = coordinates(model, batch, self.factors)
        off = [((now[i] - c) / s).square().sum(-1) for (i, c), s in zip(cache.items(), self.spread, strict=True)]
        return torch.stack(off).mean(0)


@method(room="guard", paper="despur 2026, docs/log/which-guard.md", cost=1.2)
def hold(
    factor: Subspace | Sequence[Subspace], text: OwnText, *, strength: float = 1.0, budget: float = BUDGET
) -> Edit:
    """Hold only the factor's coordinates at the base's, on text that the base itself wrote.

    The functional counterpart of `grasp`: whatever route the update takes, the factor may not become more
    active where the task does not need it. Give one factor per layer. A step costs one forward and
    backward pass over the tokens that `budget` allows.

        loss = task + 100 strength mean_t mean_l ||Vᵀ (h - h_base)||² / spread_l²

    Args:
        factor: Subspaces with a layer as site.
        text: Own text; see `OwnText.sample`.
        strength: Weight of the penalty; 1 is lambda = 100, 0 leaves training bit-identical.
        budget: Tokens of own text in a step, for each token of the task; see `rehearse`.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a budget of 0 or less.
        CannotAttach: a factor without a site, where its coordinates cannot be read.

    Example:
        >>> from despur.core import Site, Subspace
        >>> factor = Subspace.orthonormal(torch.eye(1, 8), site=Site("model.layers.1"))
        >>> hold(factor, OwnText(((1, 2, 3),))).point
        'loss'

    Source: despur's own; nearest are LDIFS (arXiv:2308.13320) and activation anchoring.
    Differs: only the factor's coordinates, in units of their spread, on own samples.
    Limits: worse than `rehearse` and `avert` in the persona world; holding random directions with
        ten times the weight did much of the same.
    """
    return HoldOnOwnText(text, _KeepCoordinates(with_layers(factor, "hold")), weight=WEIGHT * strength, budget=budget)
