"""Projected gradient ascent on a margin, for each of n prompts: the best that was seen."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.errors import BadInput

Points = Float[Tensor, "n *d"]
Move = Callable[[Points], Points]


def ascend(
    value: Callable[[Points], Float[Tensor, " n"]], start: Points, *, size: Float[Tensor, " n"], steps: int, allowed: Move,
    along: Move = lambda gradient: gradient,
) -> Points:  # fmt: skip
    """Climb from a start, and give the highest point of each prompt.

    Args:
        value: Of the points, differentiable.
        start: Where the climb begins; it counts, too.
        size: Of a step.
        steps: How many.
        allowed: A point -> the nearest one that may be.
        along: A gradient -> the part of it that a step follows.

    Raises:
        BadInput: a gradient with NaN or Inf.
    """
    here = best = start
    top = torch.full_like(size, -torch.inf)
    for step in range(steps + 1):
        here = here.detach().requires_grad_()
        now = value(here)
        better = now.detach() > top
        top, best = torch.where(better, now.detach(), top), torch.where(_wide(better, here), here.detach(), best)
        if step == steps:
            break
        (gradient,) = torch.autograd.grad(now.sum(), here)
        if not gradient.isfinite().all():
            raise BadInput("the margin's gradient contains NaN or Inf. Give one that is smooth")
        way = along(gradient)
        here = allowed(here.detach() + way / _wide(_length(way).clamp(min=1e-12), way) * _wide(size, way))
    return best


def shortened(push: Points, most: Float[Tensor, " n"]) -> Points:
    """Each push, cut to a length."""
    return push * _wide((most / _length(push).clamp(min=1e-12)).clamp(max=1), push)


def _length(points: Points) -> Float[Tensor, " n"]:
    return points.flatten(1).norm(dim=1)


def _wide(each: Tensor, like: Tensor) -> Tensor:
    """One number a prompt, to be used beside all of its coordinates."""
    return each.view(-1, *[1] * (like.ndim - 1))
