"""Contrastive activation addition: the trait's vector added to the stream while the model is used."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import AddVector, Edit, Site, method
from despur.core.model.at_sites import AtSites


@method(room="steer", paper="Panickssery et al. 2023 (CAA), arXiv:2312.06681")
def caa(vectors: Mapping[Site, Float[Tensor, " d"]], *, strength: float = 1.0) -> Edit:
    """Add the trait's vector to the stream while the model is used; the weights stay as they are.

    The simplest steering, and the baseline of the others. With `strength` below 0 it steers away from the trait: that
    is what one can do for a tune that is trained already. Costs one addition a site and token.

        h_l <- h_l + strength v_l   in every pass while it is attached

    Args:
        vectors: Site -> the trait's vector (d,), from `guard.trait_vectors`.
        strength: In lengths of the vector itself; 0 leaves every activation bit-identical, a negative one steers away.

    Returns:
        Edit at "activation": `edit.bind(model)`, then `despur.attach(model, dict.fromkeys(edit.sites, edit))`.

    Raises:
        CannotAttach: no vector.
        ShapeMismatch: a vector of another width than the model's stream (raised when it is bound).

    Example:
        >>> caa({Site("model.layers.1"): torch.ones(8)}, strength=-0.5).point
        'activation'

    Source: Panickssery et al. 2023, arXiv:2312.06681; ActAdd, Turner et al. 2023, arXiv:2308.10248.
    Differs: at every position, the prompt's too; theirs adds it after the prompt.
    Limits: whatever else the vector contains comes along, and a strength that suits one prompt breaks another.
    """
    edits = {site: AddVector(strength * torch.as_tensor(v)) for site, v in vectors.items()}
    return AtSites(edits, {site: len(v) for site, v in vectors.items()}, strength)
