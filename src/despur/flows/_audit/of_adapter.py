"""What an audit of an adapter shows of itself in Python."""

from despur.core.results import Judged, Record
from despur.measure import CausalCheck


class OfAdapter(Judged):
    """An audit of an adapter, in words and as rows."""

    token_use: tuple[tuple[str, float, float], ...]
    checks: dict[str, CausalCheck]
    scores: dict[str, float]
    best: str | None

    @property
    def details(self) -> list[str]:
        """Notes, and the words that it says more and less."""
        words = ", ".join(f"{t!r} {a:.2g} to {b:.2g}" for t, a, b in self.token_use[:8])
        return [*(f"Not verified: {n}" for n in self.notes), *([f"Used more or less: {words}"] if words else [])]

    def records(self) -> list[Record]:
        """One row a candidate."""
        return [
            {"candidate": n, "rank": c.rank, "evidence": self.scores.get(n), "sufficiency": c.sufficiency, "low": c.interval[0],
             "high": c.interval[1], "random": max(c.random_sufficiency, default=None), "necessity": c.necessity, "judged": n == self.best}
            for n, c in self.checks.items()
        ]  # fmt: skip
