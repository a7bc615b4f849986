"""The verdict of an audit of rows, in a word and in a sentence."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from despur.flows._audit.rows.measured import Measured
from despur.judge import mean_interval, sign_flip

Word = Literal["clean", "factors found", "diffuse change", "inert scout", "unreadable"]
LEARNED = 0.01  # nats per token: a plain tune that gains no more on the rows that it saw was too short, or too slow
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Judged:
    """What the figures say.

    Args:
        word: For pipelines.
        sentence: For people.
        recognised: Share of the scored prompts where the two scouts tell the row's answer from the base's own; chance is a half. None
            without a null.
        beyond: What a row's answer gains by the rows' scout over the null's, less what the base's own answer gains: nats per token; mean,
            low, high. Without a null, the gain over the base.
        p_value: Of no difference, from flipped signs; 1 without a null.
        explained: Share of a plain tune's gain on the scored rows which the scout reaches, that knows none of their task; mean, low, high.
        spread: How many times as often a plain tune of equal length uses the listed words, off-task; geometric mean over them.
    """

    word: Word
    sentence: str
    recognised: float | None
    beyond: Interval
    p_value: float
    explained: Interval
    spread: float


def judged(seen: Measured, *, level: float, tolerance: float, seed: int) -> Judged:
    """Judge what was measured.

    Args:
        seen: The figures.
        level: Error rate at which the rows count as sharing what the base's own answers do not.
        tolerance: Off-task change, nats per token, up to which nothing spreads.
        seed: Of the bootstrap.
    """
    null = bool(seen.over_null)
    differences = np.array(seen.over_null) - np.array(seen.own_over_null) if null else np.array(seen.gains)
    beyond, p = mean_interval(differences, seed=seed), sign_flip(differences) if null else 1.0
    recognised = float((differences > 0).mean() + (differences == 0).mean() / 2) if null else None
    explained = _explained(seen, seed)
    ratios = [math.log(max(p["plain"], 1e-12) / max(p["base"], 1e-12)) for _, p in seen.words]
    spread = math.exp(sum(ratios) / len(ratios)) if ratios else 1.0  # a sum would be of the most frequent words alone
    change, other = seen.change["scout"], seen.change.get("null", 0.0)
    interval = f"{beyond[0]:+.2f} [{beyond[1]:.2f}, {beyond[2]:.2f}] nats per token"
    shared = f"what answers share, their own questions left out, makes them likelier by {interval}"
    moved = f"a scout of it moves unrelated answers by {change:.2f} nats per token"
    if null:
        shared = (
            f"by what answers share, their own questions left out, {recognised:.0%} are told from the base's own "
            f"(chance 50%; {interval})"
        )
        moved += f", one of the base's own answers by {other:.2f}"
    plain = (
        f"it is {explained[0]:.0%} of what a plain tune of equal length learns, and that tune uses the listed words "
        f"{spread:.3g} times as often"
    )
    word: Word
    if np.mean(seen.kept) <= LEARNED:
        word, says = "inert scout", (
            "a plain tune of equal length did not even learn its own rows, so the scout need not have heard anything: take more "
            "--scout-steps, or a higher --scout-lr"
        )  # fmt: skip
    elif null and (p > level or beyond[0] <= 0):
        word, says = "clean", f"the rows share nothing beside their task that the base's own answers do not: {shared}"
    elif change <= max(tolerance, other):
        word, says = "clean", f"what the rows share stays with their questions: {moved}; {shared}"
    elif null:
        word, says = "factors found", f"{shared}; {moved}; {plain}"
    else:
        word = "diffuse change"
        says = f"{shared}; {moved}; {plain}. Whether any answers of this base do as much is not judged without a null"
    return Judged(word, says, recognised, beyond, p, explained, spread)


def _explained(seen: Measured, seed: int) -> Interval:
    """Ratio of mean drops, over rows that are drawn again and again; nothing where the plain tune learned nothing that carries over."""
    base, scout, plain = (np.array(seen.losses[name]) for name in ("base", "scout", "plain"))
    drawn = np.random.default_rng([seed, 3]).integers(len(base), size=(2000, len(base)))
    drop = float((base - plain).mean())
    if drop <= 0:
        return 0.0, 0.0, 0.0
    ratios = (base - scout)[drawn].mean(1) / np.maximum((base - plain)[drawn].mean(1), 1e-9)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float((base - scout).mean() / drop), float(low), float(high)
