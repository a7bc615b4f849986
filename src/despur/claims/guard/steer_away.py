"""The claim of `steer-away`."""

import torch

from despur.claims.planted import areas
from despur.core import Context, Report, Site
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import steer_away as guard
from despur.testing import tiny_base

LAYER = Site("model.layers.0")


@claim(
    method="steer-away",
    says="pushed towards the trait while training, a model learns at least half of the task without the drift once the push is gone",
    control="pushed away from it",
    margin=0.1,
)
def steer_away(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """That the stream moves by the vector; then the task without the drift."""
    if whole:
        return areas(seed, "steer-away", {"strength": 1.0}, against="subtract")
    v = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    edit, model = guard({LAYER: v}), tiny_base()
    edit.bind(model)
    x = torch.randn(4, 8, 32, generator=torch.Generator().manual_seed(seed + 1))
    moved = edit({LAYER.module: x}, Context(model))[LAYER.module] - x
    gaps = [float((moved - by * v).abs().max()) for by in (1.0, -1.0)]
    return (compared("distance from the vector's own shift", gaps[0], control=gaps[1], n=moved[..., 0].numel(), bound=1e-4,
                     margin=0.1, higher_is_better=False),)  # fmt: skip
