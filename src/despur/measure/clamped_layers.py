"""Features are clamped in several layers: is there a push that leaves all of them as they are, and brings the behaviour back?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from despur.core.errors import BadInput
from despur.measure._ascent import shortened

RIDGE = 1e-6  # of the mean square of a read's gradient
Stream = Float[Tensor, "n t d"]
Downstream = Callable[[Stream], tuple[Float[Tensor, " n"], Float[Tensor, "n c"]]]


@dataclass(frozen=True)
class RecoveredAcross:
    """What a search for a push behind the clamps of several layers gave, for each of n prompts.

    Args:
        push: (n, t, d) that was found.
        with_clamps: Whether the behaviour is there without a push.
        back: Whether it is there with it.
        length: Of the push, as a share of the stream's.
        reactivated: Largest change of what a clamped feature reads, in any layer, at any token.
    """

    push: Stream
    with_clamps: Bool[Tensor, " n"]
    back: Bool[Tensor, " n"]
    length: Float[Tensor, " n"]
    reactivated: Float[Tensor, " n"]


def recovery_across_layers(
    behaviour: Downstream, stream: Stream, *, budget: float = 0.25, steps: int = 60, constrained: bool = True
) -> RecoveredAcross:
    """Search a push at one layer that brings a behaviour back and moves no clamped feature of this or a later layer.

        g <- (I - J^T (J J^T)^-1 J) g,   J = d reads / d push,   |push| <= budget |x|

    What the reads have moved nevertheless, since they are not linear, is taken back after each step by the shortest push that does so.

    Args:
        behaviour: The stream -> a margin, above 0 where the behaviour is shown, and what the clamped features read, of all
            layers and tokens in one line a prompt; differentiable, with every clamp on.
        stream: Where the push acts, with the clamps on.
        budget: Largest push, as a share of the stream's length.
        steps: Of the search; each goes a tenth of the budget.
        constrained: Without it the push may wake what it likes: the control.

    Returns:
        The push with the largest margin, for each prompt.

    Raises:
        BadInput: a budget that is not positive, or a gradient with NaN.

    Example:
        >>> reads = lambda x: (x[:, -1, 0] - 1, x[:, -1, :1])  # what the feature reads is all that there is
        >>> recovery_across_layers(reads, torch.ones(1, 2, 3) * 0.9, budget=0.5).back.tolist()
        [False]

    Source: the cross-layer search of arXiv:2606.18322. Differs: there the projection alone keeps the clamps, the step back is ours.
        Limits: J has a line a feature, layer and token, and needs as many backward passes a step.
    """
    if not budget > 0:
        raise BadInput(f"budget={budget}; the largest push is a share of the stream's length, above 0")
    held = stream.detach()
    most = budget * stream.flatten(1).norm(dim=1)
    push = found = torch.zeros_like(held)
    first, quiet = (part.detach() for part in behaviour(held))
    best = torch.full_like(first, -torch.inf)
    for step in range(steps + 1):
        push = push.detach().requires_grad_()
        margin, reads = behaviour(held + push)
        better = margin.detach() > best
        best, found = (
            torch.where(better, margin.detach(), best),
            torch.where(better[:, None, None], push.detach(), found),
        )
        if step == steps:
            break
        (gradient,) = torch.autograd.grad(margin.sum(), push, retain_graph=True)
        if not gradient.isfinite().all():
            raise BadInput(
                "the behaviour's gradient contains NaN or Inf. Give a margin that is smooth at the clamped stream"
            )
        way, back_to = gradient.flatten(1), None
        if constrained:
            by_read = (
                torch.autograd.grad(reads, push, _one_hot(reads), is_grads_batched=True)[0].flatten(2).transpose(0, 1)
            )
            back_to = _least_push(by_read)
            way = way - back_to((by_read @ way[..., None])[..., 0])
        way = way / way.norm(dim=1).clamp(min=1e-12)[:, None] * (most / 10)[:, None]
        push = shortened(push.detach() + way.view_as(push), most)
        if back_to is not None:
            with torch.no_grad():
                moved = behaviour(held + push)[1] - quiet
            push = shortened(push - back_to(moved).view_as(push), most)
    with torch.no_grad():
        margin, reads = behaviour(held + found)
    return RecoveredAcross(
        found, first > 0, margin > 0, found.flatten(1).norm(dim=1) / stream.flatten(1).norm(dim=1),
        (reads - quiet).abs().amax(1),
    )  # fmt: skip


def _one_hot(reads: Float[Tensor, "n c"]) -> Float[Tensor, "c n c"]:
    """A line a read: of every prompt the same, since prompts do not touch each other."""
    c = reads.shape[1]
    return torch.eye(c).to(reads)[:, None].expand(c, len(reads), c)


def _least_push(by_read: Float[Tensor, "n c p"]) -> Callable[[Float[Tensor, "n c"]], Float[Tensor, "n p"]]:
    """J^+: from reads to the shortest push that makes them; reads that others imply are allowed for by a small ridge."""
    wide = by_read.double()
    gram = wide @ wide.transpose(1, 2)
    ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-30)
    root = torch.linalg.cholesky(gram + ridge[:, None, None] * torch.eye(gram.shape[1]).to(gram))

    def push(reads: Float[Tensor, "n c"]) -> Float[Tensor, "n p"]:
        lagrange = torch.cholesky_solve(reads.double()[..., None], root)
        return (wide.transpose(1, 2) @ lagrange)[..., 0].to(reads)

    return push
