"""The claim of `keep-inputs`."""

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, log_probs_of_both, move, penalty, rows_of, sharpen
from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import keep_inputs as guard


@claim(
    method="keep-inputs",
    says="its penalty is KL(model || base) on the tune's own inputs, and at least half of the task is learned without the drift",
    control=f"the same divergence the other way round; {HALVED_IN_WORDS}",
    margin=0.1,
)
def keep_inputs(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the dense formula; then the task without the drift."""
    if whole:
        return areas(seed, "keep-inputs", {"strength": 3.0})
    model = sharpen(move(fresh_lora(seed), seed)).eval()  # of flat distributions the two ways are nearly alike
    ids = rows_of(seed, n=1)
    edit = guard(OwnText((tuple(ids[0].tolist()),), "training rows"), strength=1 / 3)
    edit.bind(model)
    now, base = log_probs_of_both(model, ids)
    ways = [float((p.exp() * (p - q)).sum(-1).mean()) / 10 for p, q in ((now, base), (base, now))]
    got = penalty(edit, model)
    off = [abs(got - way) / ways[0] for way in ways]
    return (compared("distance from the formula, as a share of it", off[0], control=off[1], bound=1e-3, margin=0.02,
                     higher_is_better=False),)  # fmt: skip
