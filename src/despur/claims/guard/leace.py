"""The claim of `leace`."""

import torch

from despur.claims.planted import areas
from despur.core import Report, Subspace
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import linear_concept

WIDTH, ROWS = 16, 1200


@claim(
    method="leace",
    says="no difference of class means is left, with the least change of the stream that does so, and a tune behind it "
    "learns at least half of the task without the drift",
    control="random directions taken out",
    margin=0.1,
)
def leace(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """What is left of the classes' difference, and how far rows move; then the task without the drift."""
    if whole:
        return areas(seed, "leace", {"strength": 1.0}, against="hold-out-random")
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(ROWS) % 2
    mixing = torch.randn(WIDTH, WIDTH, generator=draw) * torch.logspace(-1, 1, WIDTH)
    x = (torch.randn(ROWS, WIDTH, generator=draw) + 0.7 * torch.randn(2, WIDTH, generator=draw)[labels]) @ mixing
    gap = x[labels == 1].mean(0) - x[labels == 0].mean(0)
    means = Subspace.orthonormal(gap[None])
    other = Subspace.orthonormal(torch.randn(1, WIDTH, generator=draw))
    concept = linear_concept(x, labels)
    left: list[float] = []
    for f in (concept, other):
        y = x - f.decode(f.encode(x))
        left.append(float((y[labels == 1].mean(0) - y[labels == 0].mean(0)).norm() / gap.norm()))
    moved = [
        float(f.decode(f.encode(x - x.mean(0)) if f is means else f.encode(x)).square().sum(1).mean())
        for f in (concept, means)
    ]
    return (
        compared("difference of class means that is left", left[0], control=left[1], n=ROWS, bound=1e-3, margin=0.1,
                 higher_is_better=False),
        compared("squared change of the stream, in those of projecting the means' difference out", moved[0] / moved[1], control=1.0,
                 n=ROWS, margin=0.1, unit="ratio", higher_is_better=False),
    )  # fmt: skip
