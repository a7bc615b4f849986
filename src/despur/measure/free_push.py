"""The push that brings a behaviour back along any direction but those that are known."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.errors import BadInput
from despur.measure._ascent import ascend, shortened

Vector = Float[Tensor, " d"]


def free_push(
    margin: Callable[[Vector], Float[Tensor, ""]], off: Float[Tensor, "k d"], *, length: float, steps: int = 20
) -> Vector:
    """Search the push of at most a length that raises a margin most, across the given directions; projected gradient from zero.

    Args:
        margin: Of a push, differentiable: for instance log-prob of text with the trait minus without, the push added to the stream.
        off: Directions that it must not use: a trait's vector, an ablated subspace.
        length: Of the push, at most.
        steps: Of the search; each goes a fifth of the length.

    Returns:
        The best push that was seen, without any part along `off`; zero where nothing raises the margin.

    Raises:
        BadInput: a length that is not positive, or a gradient with NaN.

    Example:
        >>> free_push(lambda v: v @ torch.tensor([3.0, 1.0, 0.0]), torch.eye(3)[:1], length=2.0).round()
        tensor([0., 2., 0.])

    Source: the constrained search of post-intervention recovery (arXiv:2606.18322). Differs: one push for all tokens and prompts.
        Limits: a lower bound of what an attacker reaches.
    """
    if not length > 0:
        raise BadInput(f"the longest push is {length}; it must be above 0")
    known = torch.linalg.svd(off.double(), full_matrices=False)
    basis = known.Vh[: int((known.S / known.S.max().clamp(min=1e-30) > 1e-6).sum())].to(off)
    most = torch.full((1,), length).to(off)

    def across(push: Tensor) -> Tensor:
        return push - (push @ basis.T) @ basis

    return ascend(
        lambda push: margin(push[0])[None], torch.zeros_like(off[:1]), size=most / 5, steps=steps, along=across,
        allowed=lambda push: shortened(across(push), most),
    )[0]  # fmt: skip
