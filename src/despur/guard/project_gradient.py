"""The gradient projected instead of the weights: the control of `grasp` that leaks."""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor, nn

from despur.core import Context, Edit, Subspace, method
from despur.guard._bases import Sides, matrix_projections
from despur.guard._projection import Projection


@final
class _ProjectGradients(Edit):
    point = "gradient"

    def __init__(self, factor: Subspace | Sequence[Subspace], side: Sides, roles: Mapping[str, str] | None) -> None:
        super().__init__()
        self.factor, self.roles = factor, roles
        self.side: Sides = side
        self.projections: dict[str, Projection] = {}

    def bind(self, model: nn.Module) -> None:
        self.projections = matrix_projections(model, self.factor, self.side, self.roles)
        for projection in self.projections.values():
            projection.anchor = None  # a gradient is a change: all of it along the basis is removed

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return {**tensors, **{n: h.project(tensors[n]) for n, h in self.projections.items() if n in tensors}}


@method(room="guard", paper="control; see arXiv:2607.21356", cost=1.0)
def project_gradient(
    factor: Subspace | Sequence[Subspace], *, side: Sides = "both", roles: Mapping[str, str] | None = None
) -> Edit:
    """Project the gradient instead of the weights: the control that leaks.

    Exact for plain SGD from a projected start; Adam, Lion and every elementwise optimiser rotate the
    step out of the subspace again. It is here for comparison with `grasp`, not for use. With `side="write"` and factors of
    activations it is the gradient arm of arXiv:2607.21356, which left the drift there as it was (26.6 % against 26.7 %).

    Args:
        factor: As in `grasp`.
        side: As in `grasp`.
        roles: As in `grasp`.

    Returns:
        Edit at "gradient".

    Raises:
        CannotAttach: as in `grasp`.

    Example:
        >>> from despur.core import Subspace
        >>> project_gradient(Subspace.orthonormal(torch.eye(1, 8))).point
        'gradient'

    Source: orthogonal gradient descent as commonly written (OGD, GPM), with the factor as the subspace.
    Differs: LoRA factors in place of whole weights.
    Limits: leaks under every optimiser but plain SGD, and leaves a random initial A as it is.
    """
    return _ProjectGradients(factor, side, roles)
