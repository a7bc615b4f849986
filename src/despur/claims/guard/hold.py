"""The claim of `hold`."""

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, penalty, random_factor, rows_of
from despur.core import AddVector, Report, Site, attach
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import hold as guard

LAYER = Site("model.layers.1")


@claim(
    method="hold",
    says="only the factor's coordinates are held: a push across it is free, and the scout's directions keep more drift out at the task "
    "than random ones",
    control="a push along the factor, of the same length; random directions of the same rank and activation share",
    margin=0.05,
)
def hold(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """The penalty of a push across the factor, in those of a push along it; then the task without the drift."""
    if whole:
        return areas(seed, "hold", {"strength": 1.0}, against="hold-random", bound=None)
    factor = random_factor(seed=seed, site=LAYER)
    model = fresh_lora(seed).eval()
    edit = guard(factor, OwnText(tuple(tuple(r) for r in rows_of(seed).tolist())))
    edit.bind(model)
    along = factor.read.sum(0)
    across = torch.ones(32) - factor.decode(factor.encode(torch.ones(32)))
    costs: list[float] = []
    for push in (across, along):
        with attach(model, {LAYER: AddVector(push / push.norm())}):
            costs.append(penalty(edit, model))
    return (compared("penalty of a push across the factor, in those of a push along it", costs[0] / costs[1], control=1.0,
                     bound=1e-4, margin=0.5, unit="ratio", higher_is_better=False),)  # fmt: skip
