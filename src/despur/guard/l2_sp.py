"""L2-SP: pull the weights themselves back to where they began."""

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.adapter.updates import Trained, refuse_shards, trained_updates

WEIGHT = 0.03  # lambda at strength 1


def squared_norm(down: Float[Tensor, "r d_in"], up: Float[Tensor, "d_out r"]) -> Float[Tensor, ""]:
    """||up @ down||_F² by two Gram matrices of r², never multiplied out."""
    return ((up.T @ up) * (down @ down.T)).sum()


@final
class _PullToStart(Edit):
    point = "loss"

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.trained = Trained({}, ())
        self.start: dict[str, Tensor] = {}

    def bind(self, model: nn.Module) -> None:
        """Store where whole weights begin; a LoRA update begins at zero."""
        if self.weight:
            self.trained = trained_updates(model, "l2_sp")
            self.start = {n: model.get_parameter(n).detach().clone() for n in self.trained.whole}

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not self.weight:
            return tensors
        refuse_shards(ctx.model, "l2_sp")
        parts = [squared_norm(*pair.factors(ctx.model)) for pair in self.trained.pairs.values()]
        for name, start in self.start.items():
            weight = ctx.model.get_parameter(name)
            parts.append((weight - start.to(weight)).float().square().sum())
        return {**tensors, "loss": tensors["loss"] + self.weight / 2 * torch.stack(parts).sum()}


@method(room="guard", paper="Li et al. 2018, arXiv:1802.01483", cost=1.2)
def l2_sp(*, strength: float = 1.0) -> Edit:
    """Pull the trained weights back to the base's: the plainest penalty of all, without data.

    It does not know what the weights do, so it trades task for drift as a shorter run does: the floor that any
    guard with data must beat. For LoRA the update B A counts, not A and B. Costs O((d_in + d_out) r²) per matrix.

        loss = task + 0.015 strength sum ||s B A||_F²      (whole weights: ||W - W0||_F²)

    Args:
        strength: Weight of the penalty; 1 is lambda = 0.03, 0 leaves training bit-identical.

    Returns:
        Edit at "loss".

    Raises:
        CannotAttach: something trained is neither a LoRA pair nor a weight of the base's own (raised when training
            begins), or the weights are sharded.

    Example:
        >>> l2_sp(strength=3.0).point
        'loss'

    Source: Li, Grandvalet, Davoine 2018, arXiv:1802.01483; on emergent drift: arXiv:2607.04510.
    Differs: on the effective weights of a LoRA; its form for shared layers alone, since no new layers are added here.
    Limits: there it stopped the drift only together with the skill. Where the broad solution is the smaller change
        (arXiv:2602.07852), it favours that one, and the drift can rise.
    """
    return _PullToStart(WEIGHT * strength)
