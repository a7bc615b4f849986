"""The claim of `l2-sp`."""

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, move, penalty
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import l2_sp as guard
from despur.guard.l2_sp import WEIGHT


@claim(
    method="l2-sp",
    says="its penalty is the squared norm of the whole update, and a run under it learns at least half of the task without the drift",
    control=f"the squared norm of the factors A and B; {HALVED_IN_WORDS}",
    margin=0.1,
)
def l2_sp(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the dense norm; then the task without the drift."""
    if whole:
        return areas(seed, "l2-sp", {"strength": 3.0})
    model = move(fresh_lora(seed), seed)
    edit = guard(strength=2 / WEIGHT)
    edit.bind(model)
    got = penalty(edit, model)
    dense = sum(float((u.scale * u.up @ u.down).square().sum()) for u in Adapter.of(model).updates.values())
    factors = sum(float(p.detach().square().sum()) for p in model.parameters() if p.requires_grad)
    return (compared("distance from the norm, as a share of it", abs(got - dense) / dense, control=abs(got - factors) / dense,
                     bound=1e-3, margin=0.05, higher_is_better=False),)  # fmt: skip
