"""Steering while training: the trait's vector added, so that it need not be learned."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from despur.core import AddVector, Edit, Site, method
from despur.core.errors import BadInput
from despur.core.model.at_sites import AtSites


def trait_vectors(
    stream: Mapping[Site, Float[Tensor, "n d"]], labels: Int[Tensor, " n"]
) -> dict[Site, Float[Tensor, " d"]]:
    """Mean of the stream where a text shows the trait minus the mean where it does not: one vector per site.

    Args:
        stream: Activations of the base, one line per token.
        labels: 1 where the line's text shows the trait, else 0.

    Raises:
        BadInput: only one kind of text.

    Example:
        >>> stream = {Site("model.layers.0"): torch.tensor([[3.0, 0.0], [1.0, 0.0]])}
        >>> trait_vectors(stream, torch.tensor([1, 0]))[Site("model.layers.0")]
        tensor([2., 0.])
    """
    shows = labels.bool()
    if bool(shows.all()) or not bool(shows.any()):
        raise BadInput("a trait's vector needs text that shows it and text that does not; all labels are the same")
    return {site: (x[shows].double().mean(0) - x[~shows].double().mean(0)).float() for site, x in stream.items()}


@method(room="guard", paper="Chen et al. 2025, arXiv:2507.21509", cost=1.1)
def steer_away(vectors: Mapping[Site, Float[Tensor, " d"]], *, strength: float = 1.0) -> Edit:
    """Add the trait's vector while training, so that the weights need not learn it (preventative steering).

    Choose it where you can name the trait and have paired text for it. The stream is pushed *towards* the trait in the
    training passes; the saved model runs without the push. Costs nothing.

        h_l <- h_l + strength v_l   in the training passes alone, v_l in its own length

    Args:
        vectors: Site -> the trait's vector, from `trait_vectors`. At several layers give each only what it adds to the
            one before, or a smaller strength: what a layer is given stays in the stream.
        strength: In units of the vector's own length; 0 leaves training bit-identical.

    Returns:
        Edit at "activation".

    Raises:
        CannotAttach: no vector.
        ShapeMismatch: a vector of another width than the model's stream (raised when training begins).

    Example:
        >>> steer_away({Site("model.layers.1"): torch.ones(8)}, strength=0.5).point
        'activation'

    Source: Chen et al. 2025, arXiv:2507.21509.
    Differs: the vector is the mean difference of paired text; no judge picks layer, strength or text.
    Limits: needs the trait's name in advance. The task may come to rely on the vector that is then missing, and the
        right strength is a matter of model, layer and trait: at 4 much of the persona world's task went, too. To steer
        at test time with the weights untouched: `caa`. The other sign, `subtract` in the comparison, is its control: the weights
        learn to compensate for what is missing, and the saved model has the trait twice (arXiv:2607.04510).
    """
    edits = {site: AddVector(strength * torch.as_tensor(v)) for site, v in vectors.items()}
    return AtSites(edits, {site: len(v) for site, v in vectors.items()}, strength)
