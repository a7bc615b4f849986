"""The claim of `scale`."""

import torch

from despur.claims.tiny_runs import fresh_lora, move, rows_of
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.flows import try_guard
from despur.merge import scale as method

HALF = 0.5


@claim(
    method="scale",
    says="half of an update is exactly half as long, and has three tenths of the area of an ideal run: more of the task than of the drift",
    control="the whole update",
    margin=0.1,
)
def scale(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from half of the dense update; then the task without the drift, in the persona world."""
    if whole:
        return (try_guard("persona", "shrink", {"by": HALF}, against="naive", at={}, bound=0.3, seed=seed),)
    adapter = Adapter.of(move(fresh_lora(seed), seed))
    half = method(adapter, by=HALF)
    x = rows_of(seed, n=3, length=32).float()
    short = [n for n, u in adapter.updates.items() if u.down.shape[1] == x.shape[1]]
    done = {n: [x @ (u.scale * u.up @ u.down).T for u in (adapter.updates[n], half.updates[n])] for n in short}
    errors = [float(torch.stack([(ours - by * all).norm() for all, ours in done.values()]).max()) for by in (HALF, 1.0)]
    return (compared("distance from half of what the update does", errors[0], control=errors[1], n=len(adapter.updates),
                     bound=1e-4, margin=0.1, higher_is_better=False),)  # fmt: skip
