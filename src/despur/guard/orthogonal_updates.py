"""Learn only from inputs unlike those of a text: the weights projected after every step."""

from collections.abc import Mapping
from typing import final

from torch import Tensor

from despur.core import Context, Edit, method
from despur.core.model.own_text import OwnText
from despur.guard._inputs import LeaveInputs


@final
class _LeaveInputsWeights(LeaveInputs):
    point = "weight"

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return self.edited(tensors)


@method(room="guard", paper="after Wang et al. 2021 (Adam-NSCL), arXiv:2103.07113", cost=1.0)
def orthogonal_updates(text: OwnText, *, strength: float = 1.0, energy: float = 0.99, n_rows: int = 256) -> Edit:
    """Learn only from inputs unlike those of some text, by projecting the weights after every optimiser step.

    The exact form of `orthogonal_gradients`: whatever the optimiser does, B A M = 0, so on the text each map does what the
    base's does, up to the share of its inputs that M leaves out. `grasp` forbids a few directions that a factor names; this
    forbids many that the text names, and the task pays where it needs the same ones. Costs O(r d k) per matrix and step.

        A <- A (I - M Mᵀ)      W <- W - (W - W0) M Mᵀ   (whole weights)

    Args:
        text: Own text, or generic text.
        strength: Share of the change along M that is removed at each step, in [0, 1].
        energy: Share of the inputs' squared length in M, in (0, 1).
        n_rows: Rows of text that are read, once, before training.

    Returns:
        Edit at "weight".

    Raises:
        BadInput: energy or rows out of range.
        CannotAttach: something trained reads no vectors (raised when training begins).

    Example:
        >>> orthogonal_updates(OwnText(((1, 2, 3),))).point
        'weight'

    Source: Wang, Li, Sun, Xu 2021, arXiv:2103.07113, which projects Adam's update; M as in GPM, arXiv:2103.09762.
    Differs: the weights in place of the update, with the same effect and no leak through weight decay; on LoRA's A.
    Limits: M is measured on the base. Once earlier layers move, later ones meet other inputs.
    """
    return _LeaveInputsWeights(text, energy, strength, n_rows)
