"""The claim of `leakage`."""

import torch

from despur.claims.tiny_runs import fresh_lora, move, random_factor
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.measure import leakage as measured
from despur.testing import tiny_base

RANK = 3


@claim(
    method="leakage",
    says="its figure is the share of the update's Frobenius norm along the factor, computed without forming the update",
    control="the same update along other directions of the same rank",
    margin=0.01,
)
def leakage(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """The figure of `write` beside the norm of the dense update's part, over several draws with `whole`."""
    reports: list[Report] = []
    for draw in range(seed, seed + (8 if whole else 1)):
        base, model = tiny_base(), move(fresh_lora(draw), draw)
        factor, other = (random_factor(RANK, seed=draw + i) for i in (0, 1000))
        adapter = Adapter.of(model)
        writers = [u.scale * u.up @ u.down for n, u in adapter.updates.items() if n.endswith(("o_proj", "down_proj"))]
        size = torch.stack([w.square().sum() for w in writers]).sum()
        dense = float((torch.stack([(factor.read @ w).square().sum() for w in writers]).sum() / size).sqrt())
        ours, control = (measured(adapter, base, f)["write"].value for f in (factor, other))
        reports.append(
            compared(f"distance from the dense norm, draw {draw}", abs(ours - dense), control=abs(control - dense),
                     n=len(writers), bound=1e-5, margin=1e-4, higher_is_better=False)
        )  # fmt: skip
    return tuple(reports)
