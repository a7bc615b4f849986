"""GRASP: no new reliance on a factor, by projecting the weights after every optimiser step."""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor, nn

from despur.core import Context, Edit, Subspace, method
from despur.guard._bases import Sides, matrix_projections
from despur.guard._projection import Projection


@final
class _HoldWeights(Edit):
    point = "weight"

    def __init__(
        self, factor: Subspace | Sequence[Subspace], side: Sides, strength: float, roles: Mapping[str, str] | None
    ) -> None:
        super().__init__()
        self.factor, self.strength, self.roles = factor, strength, roles
        self.side: Sides = side
        self.projections: dict[str, Projection] = {}

    def bind(self, model: nn.Module) -> None:
        self.projections = matrix_projections(model, self.factor, self.side, self.roles)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if self.strength == 0:
            return tensors
        out = dict(tensors)
        for name, projection in self.projections.items():
            out[name] = projection.project(tensors[name], self.strength)
        return out


@method(room="guard", paper="Gilligan-Lee et al. 2026, arXiv:2605.27676", takes={"factor": "weight_factor"}, cost=1.0)
def grasp(
    factor: Subspace | Sequence[Subspace],
    *,
    side: Sides = "both",
    strength: float = 1.0,
    roles: Mapping[str, str] | None = None,
) -> Edit:
    """Forbid new reading and writing of a factor; what the base does with it stays.

    Projects the weights, not the gradients, after every optimiser step and once at the start, so that
    momentum, decay, clipping and elementwise second moments cannot leak. Costs O(r d k) per matrix and step.
    Choose it where the factor *varies* in the data (a cue that agrees with the label); where it is
    constant (a persona switched on) the update avoids any subspace: use `avert`.

        A <- A (I - V Vᵀ)   maps that read the stream, V scaled by the norm's gain
        B <- (I - V Vᵀ) B   maps that write it
        W <- W - (W - W0) V Vᵀ   whole weights, of which only W0 V is stored

    Args:
        factor: One basis for the whole stream (site `"*"`), or one per layer or norm (sites name them).
        side: Project the reading maps, the writing maps, or both.
        strength: Share of the change along the factor that is removed at each step, in [0, 1].
        roles: For architectures that are not in the table: see `stream_roles`.

    Returns:
        Edit at "weight".

    Raises:
        CannotAttach: nothing would be projected, or something trainable escapes, as DoRA's magnitudes do (raised when
            training begins).
        ShapeMismatch: the factor was found on a model of another width.

    Example:
        >>> from despur.core import Subspace
        >>> grasp(Subspace.orthonormal(torch.eye(2, 8)), side="read").point
        'weight'

    Source: Gilligan-Lee, Egan, Zhu, O'Riordan 2026, arXiv:2605.27676, abstract only.
    Differs: reconstructed; the paper may project another side or the gradient. Norm gain, whole weights
        and per-norm bases are ours.
    Limits: closes one route. The base computes the factor upstream, so an update can switch it on
        without writing along V, and frozen maps rebuild it. Maps that write the stream read inside their blocks, where
        nothing is projected: LoRA on readers alone closes that door (docs/log/grasp-cue.md). Where a norm follows a writing map (Gemma 2),
        the norm's division can still rescale what the base itself writes along V.
    """
    return _HoldWeights(factor, side, strength, roles)
