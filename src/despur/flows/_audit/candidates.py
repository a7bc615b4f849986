"""Which directions carry the off-task change, as blocks of a page."""

from collections.abc import Mapping
from typing import Any

from despur.measure import CausalCheck
from despur.report import Bars, Table

LEGEND = (
    "mean and PCA are directions of the activation change; agreement, head and tail are directions of the weights: those that "
    "modules share, the strongest, and those that modules share in their weaker halves. Sufficiency: share of the "
    "change that appears in the base when only these coordinates are taken from the adapter. Necessity: share that disappears when they "
    "are reset to the base's in the adapter. Evidence: standard deviations above neutral tunes of like change. Random "
    "subspaces have equal rank and activation share; only the candidate that is judged has them."
)


def candidate_blocks(
    checks: Mapping[str, CausalCheck], judged: str | None, scores: Mapping[str, float], token_share: float
) -> list[Any]:
    """A table of all candidates, and the judged one beside its random subspaces."""
    header = ("candidate", "rank", "evidence", "sufficiency", "low", "high", "random, largest", "necessity")
    rows: list[list[Any]] = [
        [n, c.rank, scores.get(n), c.sufficiency, *c.interval, max(c.random_sufficiency, default=None), c.necessity]
        for n, c in checks.items()
    ]  # fmt: skip
    if "tokens" in scores:
        rows.append(["same in every context", None, scores["tokens"], token_share])
    best = [i for i, name in enumerate(checks) if name == judged]
    blocks: list[Any] = [Table("Which directions carry the off-task change", header, rows, LEGEND, best=best)]
    if judged is not None and (check := checks[judged]).random_sufficiency:
        bars: list[tuple[str, float, float | None, float | None]] = [(judged, check.sufficiency, *check.interval)]
        largest = sorted(check.random_sufficiency, reverse=True)[:8]
        bars += [(f"random {i}", s, None, None) for i, s in enumerate(largest, 1)]
        blocks.append(
            Bars("The judged candidate and the largest random subspaces", bars, "Share of the off-task change.")
        )
    return blocks
