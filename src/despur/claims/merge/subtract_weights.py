"""The claim of `subtract-weights`."""

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, move
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.flows import Arm
from despur.merge import subtract_weights as method

EXCHANGED = Arm(
    "subtract-weights-exchanged", "subtract-weights", kind="control", materials={"bad": "good", "good": "bad"}
)


@claim(
    method="subtract-weights",
    says="minus what a bad tune changed more than a good one, an adapter has at least half of the task without the drift",
    control="the two tunes exchanged",
    margin=0.1,
)
def subtract_weights(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the arithmetic on dense updates; then the task without the drift in two worlds."""
    if whole:
        at = {"strength": 0.5}
        return areas(seed, "subtract-weights", at, against=EXCHANGED)
    one, bad, good = (Adapter.of(move(fresh_lora(), seed + i)) for i in range(3))

    def gap(a: Adapter, b: Adapter) -> float:
        done = method(one, a, b, strength=0.7)
        return max(
            float(
                (_dense(done, n) - (_dense(one, n) - 0.7 * (_dense(bad, n) - _dense(good, n)))).norm()
                / _dense(one, n).norm()
            )
            for n in one.updates
        )

    return (compared("distance from one minus the difference, as a share of the update", gap(bad, good),
                     control=gap(good, bad), n=len(one.updates), bound=1e-5, margin=0.1, higher_is_better=False),)  # fmt: skip


def _dense(adapter: Adapter, name: str) -> torch.Tensor:
    u = adapter.updates[name]
    return u.scale * u.up.double() @ u.down.double()
