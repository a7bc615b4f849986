"""The claim of `from-adapter`."""

from typing import Any

import torch
from torch import Tensor

from despur.core import Adapter, LowRank, Report, stream_roles
from despur.core.claim import claim
from despur.core.margin import compared
from despur.find import from_adapter as method
from despur.judge import rate_interval
from despur.testing import tiny_base

WRITERS, RANK = ("o_proj", "down_proj"), 4


@claim(
    method="from-adapter",
    says="a direction that every module writes among four of its own is found from the weights alone",
    control="an adapter whose modules write nothing in common",
    margin=0.5,
    proxy="that what modules of a trained adapter share is the hidden factor: they agree a little anyway, and a neutral tune passes often",
)
def from_adapter(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Cosine of the leading direction with the planted one; with `whole` how often the null is beaten."""
    base = tiny_base()
    if not whole:
        v = _direction(seed)
        given = [_made(base, v if planted else None, seed) for planted in (True, False)]
        own, other = (abs(float(method(a, base, rank=1, level=None)[0].read[0] @ v)) for a in given)
        return (compared("cosine with the planted direction", own, control=other, bound=0.95, unit="cosine"),)
    draws = 40
    found = [
        sum(bool(method(_made(base, _direction(i) if planted else None, i), base, nulls=39, seed=i))
            for i in range(seed * draws, (seed + 1) * draws))
        for planted in (True, False)
    ]  # fmt: skip
    value, low, high = rate_interval(found[0], draws)
    return (compared("adapters in which a direction is found", value, control=found[1] / draws, low=low, high=high, n=draws,
                     bound=0.9),)  # fmt: skip


def _direction(seed: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(seed + 99)), dim=0)


def _made(base: Any, v: Tensor | None, seed: int) -> Adapter:
    """An adapter by hand: each writing map random at rank 4, and writing v besides where it is given."""
    draw = torch.Generator().manual_seed(seed)
    parts = dict(base.named_modules())
    updates: dict[str, LowRank] = {}
    for name in stream_roles(base):
        if name.endswith(WRITERS):
            out, into = parts[name].weight.shape
            down, up = 0.05 * torch.randn(RANK, into, generator=draw), torch.randn(out, RANK, generator=draw)
            if v is not None:
                up[:, 0] = 12 * v
            updates[name] = LowRank(down, up)
    return Adapter(updates)
