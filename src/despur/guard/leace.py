"""LEACE: the least change of the stream after which no linear reader finds a concept, while training."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from despur.core import Edit, Site, Subspace, method
from despur.core.errors import BadInput
from despur.guard.caft import project_at


def linear_concept(x: Float[Tensor, "n d"], labels: Int[Tensor, " n"], *, site: Site | None = None) -> Subspace:
    """Fit the oblique subspace that a concept can be read from, in closed form.

    `x - factor.decode(factor.encode(x))` has the same mean for every label, so that no linear reader does better
    than a constant, and is the nearest such affine map in the mean square. Rank: labels less one.

        P = W⁺ U Uᵀ W,   W = cov(x)^(-1/2),   U = orthonormal columns of W cov(x, one-hot)

    Args:
        x: Activations, one line per token.
        labels: Class of each line.
        site: Site where they were recorded.

    Raises:
        BadInput: one class only, not finite, or no more lines than the stream is wide.

    Example:
        >>> x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
        >>> labels = (x[:, 0] > 0).int()
        >>> factor = linear_concept(x, labels)
        >>> erased = x - factor.decode(factor.encode(x))
        >>> bool((erased[labels == 1].mean(0) - erased[labels == 0].mean(0)).abs().max() < 1e-5)
        True
    """
    n, d = x.shape
    if n <= d or not bool(torch.isfinite(x).all()):
        raise BadInput(f"LEACE got {n} lines in width {d}; it needs more lines than width, all finite. Read more text")
    found, place = labels.unique(return_inverse=True)
    if len(found) < 2:
        raise BadInput("LEACE needs text with the concept and text without; all labels are the same")
    wide = x.double()
    centre = wide.mean(0)
    one_hot = torch.nn.functional.one_hot(place, len(found)).double()
    centred = wide - centre
    values, vectors = torch.linalg.eigh(centred.T @ centred / n)
    real = values > 1e-9 * values[-1]  # below it float32 cannot hold both the stream and such a direction's part of it
    root, basis = values[real].sqrt(), vectors[:, real]
    whiten, colour = (basis / root) @ basis.T, (basis * root) @ basis.T  # W and its pseudo-inverse
    left, size, _ = torch.linalg.svd(whiten @ (centred.T @ (one_hot - one_hot.mean(0)) / n), full_matrices=False)
    u = left[:, size > 1e-6]  # correlations: at most 1
    if u.shape[1] == 0:
        raise BadInput("no linear reader finds the concept in these activations, so there is nothing to take out")
    read, write = (u.T @ whiten).float(), (u.T @ colour).float()
    return Subspace(read, write, centre.float(), site or Site(), {"method": "LEACE", "n": n})


@method(room="guard", paper="Belrose et al. 2023, arXiv:2306.03819", cost=1.1)
def leace(stream: Mapping[Site, Float[Tensor, "n d"]], labels: Int[Tensor, " n"], *, strength: float = 1.0) -> Edit:
    """Erase a concept linearly from the activations while training, with the least change of them.

    `caft` with an oblique projection, fitted from labelled text: where CAFT takes out directions that activations vary
    along, this takes out exactly what a linear reader could read the label from. Choose it where you have such text.
    The saved model runs without it.

        h <- h - strength P (h - mean),   P = W⁺ U Uᵀ W

    Args:
        stream: Site -> activations of the base, one line per token.
        labels: Label of each line, 1 where the text shows the trait, else 0 (or any classes).
        strength: Share that is removed, in [0, 1]; 0 leaves training bit-identical.

    Returns:
        Edit at "activation".

    Raises:
        BadInput: one class only, not finite, or no more lines than the stream is wide.
        CannotAttach: no site.
        ShapeMismatch: as in `caft`.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> x, labels = torch.randn(50, 8, generator=draw), torch.arange(50) % 2
        >>> leace({Site("model.layers.1"): x}, labels).point
        'activation'

    Source: Belrose et al. 2023, arXiv:2306.03819, equation of theorem 4.3.
    Differs: used while training, as CAFT is; no shrinkage of the covariance. At several layers each is fitted on the
        untouched stream, not on what the layer before left over (concept scrubbing).
    Limits: only linear readers are stopped, and only on text like the text given; with few more lines than width, what
        is removed is noise.
    """
    return project_at([linear_concept(x, labels, site=site) for site, x in stream.items()], strength)
