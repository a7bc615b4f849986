"""hold: keep only a factor's coordinates where the base has them, on the base's own text."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from despur.core import EVERYWHERE, Edit, Subspace, method, record
from despur.core.errors import CannotAttach
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._hold_on_text import HoldOnOwnText, token_mean

WEIGHT = 100.0  # lambda at strength 1


class _KeepCoordinates:
    def __init__(self, factors: tuple[Subspace, ...]) -> None:
        self.factors = factors

    def _coordinates(self, model: nn.Module, ids: Tensor, mask: Tensor) -> list[Tensor]:
        with record(model, [f.site for f in self.factors]) as seen:
            model(input_ids=ids, attention_mask=mask)
        return [f.encode(seen[f.site].float()) for f in self.factors]

    def remember(self, model: nn.Module, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        with as_base(model) as base:
            coordinates = self._coordinates(base, ids, mask)
        real = mask[..., None]
        # each site in units of its own spread, so that deep layers with long vectors do not dominate
        scale = [(c * real).square().sum().div(real.sum()).sqrt().clamp(min=1e-6) for c in coordinates]
        spread = [(torch.ones_like(c[..., :1]) * s) for c, s in zip(coordinates, scale, strict=True)]
        return {
            f"{kind}{i}": t
            for i, pair in enumerate(zip(coordinates, spread, strict=True))
            for kind, t in zip("cs", pair, strict=True)
        }

    def penalty(self, model: nn.Module, ids: Tensor, mask: Tensor, cache: Mapping[str, Tensor]) -> Tensor:
        now = self._coordinates(model, ids, mask)
        off = [((c - cache[f"c{i}"]) / cache[f"s{i}"].clamp(min=1e-6)).square().sum(-1) for i, c in enumerate(now)]
        return token_mean(torch.stack(off).mean(0), mask)


@method(room="guard", paper="despur 2026, docs/log.md", cost=2.0)
def hold(
    factor: Subspace | Sequence[Subspace], text: OwnText, *, strength: float = 1.0, rows_per_step: int = 16
) -> Edit:
    """Hold only the factor's coordinates at the base's, on text that the base itself wrote.

    The functional counterpart of `grasp`: whatever route the update takes, the factor may not become more
    active where the task does not need it. Give one factor per layer. A step costs one forward and
    backward pass over `rows_per_step` rows more.

        loss = task + 100 strength mean_t mean_l ||Vᵀ (h - h_base)||² / spread_l²

    Args:
        factor: Subspaces with a layer as site.
        text: Own text; see `OwnText.sample`.
        strength: Weight of the penalty; 1 is lambda = 100, 0 leaves training bit-identical.
        rows_per_step: Rows of own text in each step.

    Returns:
        Edit at "loss".

    Raises:
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
    factors = (factor,) if isinstance(factor, Subspace) else tuple(factor)
    if not factors or any(f.site.module == EVERYWHERE for f in factors):
        raise CannotAttach(
            "hold needs factors with a layer as site (found by from_activations). Got one for every layer"
        )
    return HoldOnOwnText(text, _KeepCoordinates(factors), weight=WEIGHT * strength, rows_per_step=rows_per_step)
