"""The claim of `truncate`."""

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, move
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.merge import truncate as method

RANK = 2


@claim(
    method="truncate",
    says="what is unwanted sits in the small singular components: without them at least half of the task is there without the drift",
    control="as many components taken at random",
    margin=0.1,
)
def truncate(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the best approximation of that rank; then the task without the drift in two worlds."""
    if whole:
        at = {"rank": RANK}
        return areas(seed, "truncate", at, against="truncate-random")
    adapter = Adapter.of(move(fresh_lora(seed), seed))
    gaps: list[float] = []
    for keep in ("top", "random"):
        done = method(adapter, rank=RANK, keep=keep, seed=seed)
        extra: list[float] = []
        for name, u in adapter.updates.items():
            dense, short = (x.scale * x.up @ x.down for x in (u, done.updates[name]))
            best = torch.linalg.svdvals(dense.double())[RANK:].norm()
            extra.append(float(torch.linalg.norm((dense - short).double()) - best) / float(torch.linalg.norm(dense)))
        gaps.append(max(extra))
    return (compared("distance beyond that of the best approximation, as a share of the update", gaps[0], control=gaps[1],
                     n=len(adapter.updates), bound=1e-4, margin=0.05, higher_is_better=False),)  # fmt: skip
