"""The claim of `grasp`."""

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, learn, random_factor, rows_of
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import grasp as guard
from despur.guard import project_gradient
from despur.measure import leakage
from despur.testing import tiny_base


@claim(
    method="grasp",
    says="no update reads or writes along the factor, whatever the optimiser, and with the scout's own directions half of the "
    "task is learned without the drift",
    control="the gradient projected in place of the weights; random directions of the same rank and activation share",
    margin=0.1,
)
def grasp(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Leak under AdamW; then the task that is learned without the drift in two worlds where the factor is constant."""
    if whole:
        return areas(seed, "grasp", {"side": "both"}, against="grasp-random")
    factor, rows = random_factor(seed=seed), rows_of(seed)
    kinds = (guard(factor), project_gradient(factor))
    ours, control = (leakage(Adapter.of(learn(fresh_lora(), rows, edit)), tiny_base(), factor) for edit in kinds)
    return tuple(
        compared(f"share of the update that {side}s along the factor", ours[side].value, control=control[side].value,
                 n=ours[side].n, bound=1e-6, margin=0.01, higher_is_better=False)
        for side in ("read", "write")
    )  # fmt: skip
