"""The claim of `first-tokens`."""

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, log_probs_of_both, move, penalty, rows_of, sharpen
from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import first_tokens as guard

FIRST, START = 2, 3  # tokens of the answer that are held; in front of it


@claim(
    method="first-tokens",
    says="its penalty is KL(base || model) on the first tokens of the base's answers, and of a chat base at least half of the task is "
    "learned without the drift",
    control=f"the same divergence over whole answers; {HALVED_IN_WORDS}",
    margin=0.1,
)
def first_tokens(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the dense formula; then the task without the drift."""
    if whole:
        return areas(seed, "first-tokens", {"strength": 1.0}, worlds=("persona_chat",))
    model = sharpen(move(fresh_lora(seed), seed)).eval()
    ids = rows_of(seed, n=1)
    edit = guard(OwnText((tuple(ids[0].tolist()),), starts=(START,)), strength=0.2, tokens=FIRST)
    edit.bind(model)
    now, base = log_probs_of_both(model, ids)
    kl = (base.exp() * (base - now)).sum(-1)[0, START - 1 :]
    ways = [float(kl[: FIRST + 1].mean()), float(kl.mean())]  # what stands on the last token that is held counts, too
    got = penalty(edit, model)
    off = [abs(got - way) / ways[0] for way in ways]
    return (compared("distance from the formula, as a share of it", off[0], control=off[1], bound=0.01, margin=0.02,
                     higher_is_better=False),)  # fmt: skip
