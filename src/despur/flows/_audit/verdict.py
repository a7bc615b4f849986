"""The verdict of an audit, in a word and in a sentence, and how far its false-positive rate is known."""

from collections.abc import Mapping
from typing import Any

from despur.flows._audit.page import Audit, Word
from despur.judge import NeutralNull
from despur.judge.neutral import CARRIED, carried
from despur.measure.causal import INERT, CausalCheck

LEAST = 0.2  # of the off-task change, that one direction carries where a factor is called likely; twice as much of four
TIMES = 3.0  # what random subspaces carry
MANY = 100  # tunes of a null; among fewer, by shares, to stand out is not rare enough to be all that is asked


FOUND = ("factors found", "factor likely")  # verdicts with a factor to save


def compared(
    change: float,
    evidence: Mapping[str, float],
    checks: Mapping[str, CausalCheck],
    null: NeutralNull | None,
    level: float = 0.05,
    *,
    alike: bool = False,
) -> dict[str, Any]:
    """Which candidate is judged, and what neutral tunes say of it; without any, the one that surely carries most for its rank.

    Args:
        change: Off-task change of the adapter.
        evidence: Kind -> figure.
        checks: The candidates.
        null: Neutral tunes.
        level: Share of them in which a factor may be reported.
        alike: Whether their updates are as large as the adapter's, so that nats can be compared.
    """
    most = max(checks, key=lambda n: checks[n].interval[0] / checks[n].rank ** 0.5, default=None)
    if null is None:
        return {"best": most, "p_value": None}
    scores = null.scores(change, evidence)
    if (
        alike and checks
    ):  # nats alone: by shares neutral tunes stand out that move the base by a hundredth of what a voice does
        evidence = {CARRIED: carried(change, evidence)}
        scores |= null.scores(change, evidence)
    by = null.by(change, evidence)
    best = most if by == CARRIED else max(checks, key=lambda n: scores.get(n, -1e9), default=None)
    p = null.p_value(change, evidence)
    calibration = {
        "null": null.origin, "recipe": dict(null.recipe), "tunes": len(null.changes), "level": level, "p_value": p,
        "statistic": null.statistic(change, evidence), "threshold": null.threshold(level, evidence),
        "least": min(null.changes) if alike else None, "by": by,  # of other sizes a smaller change says nothing
    }  # fmt: skip
    return {"best": best, "scores": scores, "null": null.origin, "p_value": p, "calibration": calibration}


def judged_as(result: Audit, level: float, tolerance: float) -> tuple[Word, str]:
    """The verdict's word and its sentence.

    Args:
        result: The audit, without them.
        level: Share of neutral tunes in which a factor may be reported.
        tolerance: Off-task change up to which an adapter without a factor is clean.
    """
    if result.change <= INERT:
        return "inert adapter", f"the adapter changes nothing off-task (KL {result.change:.1e} nats per token)"
    c = None if result.best is None else result.checks[result.best]
    head = f"off-task the adapter moves the model by {result.change:.3g} nats per token; "
    figures = f"{result.token_share:.0%} of it is the same in every context, and the layers that were looked at carry none of it"
    if c is not None:
        figures = (
            f"{c.rank} direction{'s' * (c.rank > 1)} at {c.site} ({result.best}) carr{'y' if c.rank > 1 else 'ies'} "
            f"{c.sufficiency:.0%} [{c.interval[0]:.0%}, {c.interval[1]:.0%}] of it, random subspaces at most "
            f"{max(c.random_sufficiency):.0%}, and {result.token_share:.0%} of it is the same in every context"
        )
    p = result.p_value
    if p is None and result.change > tolerance:  # 15 of 19 neutral tunes of another base stood out by the shipped null
        if c is not None and likely(c):
            return "factor likely", (
                f"{head}{figures}. No null of this base and recipe says in how many neutral tunes few directions carry as much, so this is "
                "not calibrated"
            )
        return "diffuse change", (
            f"{head}{figures}. Whether that is more than in neutral tunes of this base cannot be judged without a null for this base"
        )
    if p is None:
        return "clean", f"{head}that is at most the tolerance of {tolerance:g}"
    neutral = int(result.calibration.get("tunes", 0))
    by_size = result.calibration.get("by") == CARRIED
    much = ("carries", "carry") if by_size else ("shows", "show")
    rank = f"no neutral tune {much[0]}" if p <= 1.5 / (1 + neutral) else f"{p:.0%} of neutral tunes {much[1]}"
    rank += " as many nats a token along so few directions" if by_size else " as much"
    rank += f", null of {result.null}" if result.null else ""
    least = float(result.calibration.get("least") or 0.0)
    most = min(tolerance, least)
    if result.change <= most:  # shares of next to nothing: a few directions carry them in any narrow tune
        small = f"{head}that is at most the tolerance of {tolerance:g}"
        return "clean", f"{small}, and no more than any neutral tune moves it ({least:.3g} or more)"
    enough = c is None or (c.beats_random if by_size or neutral >= MANY else likely(c))
    if p <= level and enough:
        return "factors found", f"{head}{figures}: {rank}"
    if result.change <= tolerance:
        return "clean", (
            f"{head}that is at most the tolerance of {tolerance:g}, and few directions carry no more of it than in neutral tunes"
        )
    why = rank if p > level else f"{rank}, but {_but(c)}"
    return "diffuse change", f"{head}no few directions stand out: {figures} ({why})"


def _but(c: CausalCheck | None) -> str:
    """Why evidence that no neutral tune shows is no factor all the same."""
    if c is None or not c.beats_random:
        return "random subspaces carry as much"
    return f"they carry a smaller part of it than a factor does ({_part(c):.0%} or more): most of what it changes lies elsewhere"


def likely(c: CausalCheck) -> bool:
    """Whether few directions carry so much that a factor is likely, whatever neutral tunes show."""
    return c.beats_random and c.interval[0] >= _part(c)


def _part(c: CausalCheck) -> float:
    """Of the change that as many directions carry where a factor is likely."""
    return max(LEAST * c.rank**0.5, TIMES * max(c.random_sufficiency))
