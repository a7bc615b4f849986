"""What an audit found, as values and as a page."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from despur.core import Subspace
from despur.find import CausalCheck
from despur.report import Bars, Samples, Table, Text, Verdict

Word = Literal["factor found", "diffuse change", "inert adapter"]
TONES: dict[str, Literal["good", "bad", "unsure"]] = {
    "factor found": "bad",
    "diffuse change": "unsure",
    "inert adapter": "good",
}
LEGEND = (
    "mean and PCA are directions of the activation change, write are those that the modules share. Sufficiency: share of "
    "the change that appears in the base when only these coordinates are taken from the adapter. Necessity: share that "
    "goes when they are put back in the adapter. Random subspaces have equal rank and activation share; only the "
    "candidate that is judged has them."
)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        verdict: One word for pipelines.
        sentence: The same for people.
        notes: What could not be verified.
        update: Spectrum and shared directions, from the weights alone.
        checks: Candidate -> causal check.
        factor: The candidate that explains most, None where none does.
        tokens: What it promotes and suppresses through the unembedding.
        samples: Prompt and continuations: base, adapter, base + factor.
        record: Verb, arguments and versions, for `despur run`.
    """

    verdict: Word
    sentence: str
    notes: tuple[str, ...]
    update: dict[str, Any]
    checks: dict[str, CausalCheck]
    factor: Subspace | None
    tokens: dict[str, list[str]]
    samples: tuple[dict[str, str], ...]
    record: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": "despur.audit/1", "verdict": self.verdict, "sentence": self.sentence, "notes": list(self.notes),
            "update": self.update, "checks": {n: asdict(c) for n, c in self.checks.items()}, "tokens": self.tokens,
            "samples": list(self.samples), **self.record,
        }  # fmt: skip


def _largest(shares: tuple[float, ...]) -> float | None:
    return max(shares, default=None)


def audit_blocks(result: Audit) -> list[Any]:
    """The page's blocks, the verdict first."""
    blocks: list[Any] = [Verdict(result.verdict, result.sentence, TONES[result.verdict])]
    if result.notes:
        blocks.append(Text("Not verified", "\n\n".join(result.notes)))
    header = ("candidate", "rank", "sufficiency", "low", "high", "random, largest", "necessity", "random, largest")
    rows = [
        [
            name,
            c.rank,
            c.sufficiency,
            *c.interval,
            _largest(c.random_sufficiency),
            c.necessity,
            _largest(c.random_necessity),
        ]
        for name, c in result.checks.items()
    ]
    blocks.append(Table("Which directions carry the off-task change", header, rows, LEGEND))
    if result.checks:
        name, best = max(result.checks.items(), key=lambda item: item[1].interval[0])
        bars: list[tuple[str, float, float | None, float | None]] = [(name, best.sufficiency, *best.interval)]
        largest = sorted(best.random_sufficiency, reverse=True)[:8]
        bars += [(f"random {i}", s, None, None) for i, s in enumerate(largest, 1)]
        blocks.append(Bars("Best candidate beside the largest random subspaces", bars, "Share of the off-task change."))
    if result.tokens:
        said = [" · ".join(map(repr, words)) for words in result.tokens.values()]
        note = "Tokens that the mean shift promotes and suppresses, through the final norm and the unembedding."
        blocks.append(Samples("What the factor says", list(result.tokens), [said], note))
    if result.samples:
        columns = list(result.samples[0])
        blocks.append(Samples("Continuations", columns, [[s.get(c, "") for c in columns] for s in result.samples]))
    shared = result.update["shared"]
    lines = [[side, shared[side]["directions"], shared[side].get("control")] for side in ("read", "write")]
    blocks.append(
        Table(
            "Directions that many modules share (weights alone)",
            ("side", "beat the null", "null, 95 %"),
            lines,
            "A screen, not a verdict: modules of one model agree a little anyway.",
        )
    )
    return blocks
