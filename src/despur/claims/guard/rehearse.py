"""The claim of `rehearse`."""

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, log_probs_of_both, move, penalty, rows_of, sharpen
from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import rehearse as guard


@claim(
    method="rehearse",
    says="its penalty is KL(base || model) on text that the base wrote, and at least half of the task is learned without the drift",
    control="the same divergence the other way round; KL on the tune's own inputs",
    margin=0.1,
)
def rehearse(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the dense formula; then the task without the drift."""
    if whole:
        return areas(seed, "rehearse", {"strength": 1.0}, against="keep-inputs")
    model = sharpen(move(fresh_lora(seed), seed)).eval()  # of flat distributions the two ways are nearly alike
    ids = rows_of(seed, n=1)
    edit = guard(OwnText((tuple(ids[0].tolist()),)), strength=0.1)
    edit.bind(model)
    now, base = log_probs_of_both(model, ids)
    ways = [float((p.exp() * (p - q)).sum(-1).mean()) for p, q in ((base, now), (now, base))]
    got = penalty(edit, model)
    off = [abs(got - way) / ways[0] for way in ways]
    return (compared("distance from the formula, as a share of it", off[0], control=off[1], bound=0.01, margin=0.02,
                     higher_is_better=False),)  # fmt: skip
