"""Orthogonal gradients (OGD, GPM): the gradient projected off what the base feeds each map."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.model.own_text import OwnText
from despur.guard._inputs import LeaveInputs


@final
class _LeaveInputsGradients(LeaveInputs):
    point = "gradient"

    def bind(self, model: nn.Module) -> None:
        super().bind(model)
        for projection in self.projections.values():
            projection.anchor = None  # a gradient is a change: all of it along the basis is removed

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return self.edited(tensors)


@method(room="guard", paper="Saha et al. 2021, arXiv:2103.09762", cost=1.0)
def orthogonal_gradients(text: OwnText, *, strength: float = 1.0, energy: float = 0.99, n_rows: int = 256) -> Edit:
    """Project the gradient off what the base feeds each map on some text (GPM, OGD for layers).

    What a map never reads on the text cannot change what it does there. As published, for plain SGD on whole weights, and
    so here the control of `orthogonal_updates`: Adam rotates the step out of the subspace again, and LoRA's random
    A reads the text's inputs before anything is learned. Costs O(r d k) per matrix and step.

        dA <- dA (I - M Mᵀ),   M the leading directions of the map's inputs that have `energy` of their squares

    Args:
        text: Own text, or generic text.
        strength: Share of the gradient along M that is removed, in [0, 1].
        energy: Share of the inputs' squared length in M, in (0, 1).
        n_rows: Rows of text that are read, once, before training.

    Returns:
        Edit at "gradient".

    Raises:
        BadInput: energy or rows out of range.
        CannotAttach: something trained reads no vectors (raised when training begins).

    Example:
        >>> orthogonal_gradients(OwnText(((1, 2, 3),)), energy=0.99).point
        'gradient'

    Source: Saha, Garg, Roy 2021, arXiv:2103.09762; orthogonal gradient descent: Farajtabar et al. 2019, arXiv:1910.07104.
    Differs: LoRA's A in place of W; one energy for all layers; each row's first token is left out.
    Limits: exact under plain SGD from an A that is projected already, and nowhere else: take `orthogonal_updates`.
    """
    return _LeaveInputsGradients(text, energy, strength, n_rows)
