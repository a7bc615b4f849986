"""Concept ablation fine-tuning: a factor is projected out of the activations while training, and only then."""

from collections.abc import Sequence

from despur.core import Edit, ProjectOut, Subspace, method
from despur.core.errors import CannotAttach
from despur.core.model.at_sites import AtSites


def project_at(factors: Sequence[Subspace], strength: float) -> Edit:
    """Project each factor out at its own site.

    Raises:
        CannotAttach: no factor, or two at one site.
    """
    if len({f.site for f in factors}) < len(factors):
        raise CannotAttach("two factors have one site. Join them: Subspace.orthonormal(torch.cat(...))")
    return AtSites({f.site: ProjectOut(f, strength) for f in factors}, {f.site: f.width for f in factors}, strength)


@method(room="guard", paper="Casademunt et al. 2025, arXiv:2507.16795; Nadaf 2026, arXiv:2607.21356", cost=1.1)
def caft(factor: Subspace | Sequence[Subspace], *, strength: float = 1.0) -> Edit:
    """Project a factor out of the activations while training, so that nothing is learned through it.

    The model trains as if the factor were not there, gradients pass through the projection, and what is saved and
    evaluated runs without it. Choose it where you have directions, and check the task figure of the trained model:
    what the task itself does through the factor is not learned either. With a persona's directions at several layers,
    read before any tune, it is Nadaf's hold-out; the arithmetic is the same. Costs O(t d k) per site and pass.

        h <- h - strength (h V) Vᵀ   at each site, in the training passes alone

    Args:
        factor: One subspace per layer (`from_activations`), or one with site `"*"` for every layer.
        strength: Share that is removed, in [0, 1]; 0 leaves training bit-identical.

    Returns:
        Edit at "activation".

    Raises:
        CannotAttach: no factor, or two at one place.
        ShapeMismatch: a factor of another width than the model's stream (raised when training begins).

    Example:
        >>> from despur.core import Site, Subspace
        >>> caft(Subspace.orthonormal(torch.eye(1, 8), site=Site("model.layers.1"))).point
        'activation'

    Source: Casademunt et al. 2025, arXiv:2507.16795; the persona's subspace in every pass, arXiv:2607.21356.
    Differs: in float32 whatever the model's dtype, so that the projection stays one; no person reads and
        picks the directions.
    Limits: the network behind the site learns without the factor and is then run with it. Random directions of the same
        variance do part of the same, and at one layer alone little was seen: compare with `random_twins`. In
        arXiv:2607.21356, and in the persona world at every layer, most of the trained behaviour went as well.
    """
    return project_at((factor,) if isinstance(factor, Subspace) else tuple(factor), strength)
