"""The claim of `safe-lora`."""

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, move
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.flows import Arm
from despur.merge import safe_lora as method

ONTO_THE_HARM = Arm(
    "safe-lora-onto-the-scout", "safe-lora", kind="control", options={"exact": True}, materials={"aligned": "bad"}
)


@claim(
    method="safe-lora",
    says="projected onto what a benign tune wrote, by a true projector, an adapter has at least half of the task without the drift",
    control="projected onto what the harmful scout wrote",
    margin=0.1,
)
def safe_lora(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Whether the projection is one, beside the published C; then the task without the drift in two worlds."""
    if whole:
        at = {"share": 0.5}
        return areas(seed, "safe-lora-exact", at, against=ONTO_THE_HARM)
    one, aligned = (Adapter.of(move(fresh_lora(), seed + i)) for i in range(2))
    moved: list[float] = []
    for exact in (True, False):
        once = method(one, aligned, threshold=1.0, exact=exact)
        twice = method(once, aligned, threshold=1.0, exact=exact)
        moved.append(max(abs(1 - twice.updates[n].norm() / u.norm()) for n, u in once.updates.items()))
    return (compared("change of size when it is projected again", moved[0], control=moved[1], n=len(one.updates), bound=1e-4,
                     margin=0.05, higher_is_better=False),)  # fmt: skip
