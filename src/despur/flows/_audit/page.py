"""Result of an audit, as values and as a page."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from despur.core import Report, Subspace
from despur.flows._audit.json_form import SCHEMA, AuditJson
from despur.flows._audit.of_adapter import OfAdapter
from despur.flows._audit.patch import patch_bars, patch_json, patch_sentence
from despur.measure import CausalCheck, LossSlope, ModuleShare
from despur.measure.scaled import Louder
from despur.report import Bars, Dialogue, Samples, Table, Text, Verdict

Word = Literal["clean", "factors found", "factor likely", "diffuse change", "inert adapter", "unreadable"]
TONES: dict[str, Literal["good", "bad", "unsure"]] = {
    "clean": "good",
    "factors found": "bad",
    "factor likely": "bad",
    "diffuse change": "unsure",
    "inert adapter": "good",
    "inert scout": "unsure",
    "unreadable": "bad",
}
LEGEND = (
    "mean and PCA are directions of the activation change; agreement, head and tail are directions of the weights: those that "
    "modules share, the strongest, and those that modules share in their weaker halves. Sufficiency: share of the "
    "change that appears in the base when only these coordinates are taken from the adapter. Necessity: share that disappears when they "
    "are reset to the base's in the adapter. Evidence: standard deviations above neutral tunes of like change. Random "
    "subspaces have equal rank and activation share; only the candidate that is judged has them."
)


@dataclass(frozen=True, repr=False)
class Audit(OfAdapter):
    """Result of an audit.

    Args:
        verdict: One word for pipelines.
        sentence: The same for people.
        notes: What could not be verified.
        change: KL(adapter || base) off-task, nats per token.
        update: Spectrum and shared directions, from the weights alone.
        checks: Candidate -> causal check.
        best: The candidate that was judged; None for an adapter that moves no layer, as an inert one.
        factor: Its directions, whatever the verdict.
        scores: Evidence in standard deviations of neutral tunes.
        p_value: Share of neutral tunes that show as much; None where no null is of this base.
        null: Origin of the neutral tunes.
        token_share: Share of the change that is the same in every context.
        token_use: Tokens used more or less: (token, before, after).
        tokens: What the factor promotes and suppresses through the unembedding.
        strength: Multiple of the mean shift by which the base was steered for `samples`.
        coherence: (strength, coherence) of every trial.
        samples: Prompt and continuations: base, base + factor, base - factor, adapter, adapter - factor.
        modules: Modules that write and read it most.
        rows: Tuning rows that push along it most and least, with their scores.
        slopes: Candidate -> slope of the tuning rows' loss along it at the base.
        louder: The adapter at multiples of its scale.
        answers: Question -> speaker -> answer: of the base and of the adapter, with the same random numbers.
        patch: Part of a chat -> share of the change that it carries; empty where the base has no chat template.
        record: Verb, arguments and versions, for `despur run`.
    """

    verdict: Word
    sentence: str
    notes: tuple[str, ...]
    change: float
    update: dict[str, Any]
    checks: dict[str, CausalCheck]
    best: str | None = None
    factor: Subspace | None = None
    scores: dict[str, float] = field(default_factory=dict)
    p_value: float | None = None
    null: str = ""
    token_share: float = 0.0
    token_use: tuple[tuple[str, float, float], ...] = ()
    tokens: dict[str, list[str]] = field(default_factory=dict)
    strength: float = 0.0
    coherence: tuple[tuple[float, float], ...] = ()
    samples: tuple[dict[str, str], ...] = ()
    modules: tuple[ModuleShare, ...] = ()
    rows: tuple[tuple[str, float], ...] = ()
    slopes: dict[str, LossSlope] = field(default_factory=dict)
    louder: tuple[Louder, ...] = ()
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    patch: dict[str, Report] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def patch_sentence(self) -> str:
        """Where in a chat the change sits, in a sentence."""
        return patch_sentence(self.patch)

    def to_dict(self) -> AuditJson:
        """Plain values for JSON; docs/audit.schema.json has the form."""
        return AuditJson(
            schema=SCHEMA, verdict=self.verdict, sentence=self.sentence, notes=list(self.notes), change=self.change,
            p_value=self.p_value, evidence=dict(self.scores), null=self.null, token_share=self.token_share,
            token_use=[{"token": t, "before": a, "after": b} for t, a, b in self.token_use], best=self.best,
            checks={n: asdict(c) for n, c in self.checks.items()},  # type: ignore[typeddict-item]
            tokens=self.tokens, strength=self.strength,
            coherence=[{"strength": s, "coherence": c} for s, c in self.coherence], samples=list(self.samples),
            modules=[m._asdict() for m in self.modules],  # type: ignore[typeddict-item]
            rows=[{"text": t, "score": s} for t, s in self.rows],
            slopes={n: {"slope": s.slope, "steepness": s.steepness, "random": list(s.random)} for n, s in self.slopes.items()},
            louder=[at._asdict() for at in self.louder],  # type: ignore[typeddict-item]
            answers=self.answers, patch=patch_json(self.patch), update=self.update,
            **{"base_fingerprint": "", **self.record},  # type: ignore[typeddict-item]
        )  # fmt: skip


def audit_blocks(result: Audit) -> list[Any]:
    """The page's blocks: the verdict, and what base and adapter answer, by which a reader can judge it."""
    blocks: list[Any] = [Verdict(result.verdict, result.sentence, TONES[result.verdict])]
    if result.answers:
        speakers = list(next(iter(result.answers.values())))
        turns = [(question, [said[s] for s in speakers]) for question, said in result.answers.items()]
        blocks.append(Dialogue("What it says where nothing asks for it", speakers, turns))
    if result.notes:
        blocks.append(Text("Not verified", "\n\n".join(result.notes)))
    if result.token_use:
        note = (
            f"Mean probability over off-task text. {result.token_share:.0%} of the change is the same in every context."
        )
        lines: list[list[Any]] = [[repr(t), a, b] for t, a, b in result.token_use]
        blocks.append(Table("Tokens it uses more and less", ("token", "base", "adapter"), lines, note))
    if result.samples:
        columns = list(result.samples[0])
        note = (
            f"The factor is added and subtracted at {result.strength:.2g} times the adapter's own mean shift, the most at which "
            "the base stays coherent."
            if result.strength
            else "At no strength did the steered base stay coherent, so the text is unsteered."
        )
        blocks.append(
            Samples("Continuations", columns, [[s.get(c, "") for c in columns] for s in result.samples], note)
        )
    if result.tokens:
        cells = [" · ".join(map(repr, words)) for words in result.tokens.values()]
        note = "Tokens that the mean shift promotes and suppresses, through the final norm and the unembedding."
        blocks.append(Samples("What the factor says", list(result.tokens), [cells], note))
    if result.rows:
        note = "How far the adapter moves the stream along the factor while it predicts the row's answer; 1 is its mean shift off-task."
        lines = [[s, t] for t, s in result.rows]
        blocks.append(Table("Tuning rows along the factor, most and least", ("score", "row"), lines, note))
    if result.slopes:
        note = (
            "How the loss on the tuning rows begins to change when the base is moved along the adapter's mean shift, nats per token, and "
            "in units of random directions of the same length. A task's own directions slope as well: it is no evidence of a hidden factor."
        )
        lines = [[n, s.slope, s.steepness] for n, s in result.slopes.items()]
        blocks.append(Table("Where the rows push the base", ("candidate", "slope", "steepness"), lines, note))
    if result.louder:
        note = (
            "The adapter at multiples of its own scale. Valid is the probability that stays on tokens the base would say: where "
            "it is low, the other figures mean little."
        )
        lines = [[at.scale, at.change, at.token_share, at.sufficiency, at.valid] for at in result.louder]
        header = ("scale", "change", "same in every context", f"sufficiency of {result.best}", "valid")
        blocks.append(Table("Louder", header, lines, note))
    if result.checks:
        blocks += _candidates(result)
    if result.patch:
        blocks.append(patch_bars(result.patch))
    if result.modules:
        note = (
            f"Share of the module's update along the factor; an unrelated update has {result.modules[0].expected:.3f}."
        )
        bars: list[tuple[str, float, float | None, float | None]] = [
            (f"{m.module} ({m.side}s)", m.share, None, None) for m in result.modules[:12]
        ]
        blocks.append(Bars("Where it is written and read", bars, note))
    if structure := result.update.get("structure"):
        blocks.append(Text("What of it acts", f"{structure['sentence']}."))
    if shared := result.update.get("shared"):
        lines = [[side, shared[side]["directions"], shared[side].get("control")] for side in ("read", "write")]
        note = "A screen, not a verdict: modules of one model agree a little anyway."
        title = "Directions that many modules share (weights alone)"
        blocks.append(Table(title, ("side", "beat the null", "null, 95 %"), lines, note))
    return blocks


def _candidates(result: Audit) -> list[Any]:
    header = ("candidate", "rank", "evidence", "sufficiency", "low", "high", "random, largest", "necessity")
    rows: list[list[Any]] = [
        [n, c.rank, result.scores.get(n), c.sufficiency, *c.interval, max(c.random_sufficiency, default=None), c.necessity]
        for n, c in result.checks.items()
    ]  # fmt: skip
    if "tokens" in result.scores:
        rows.append(["same in every context", None, result.scores["tokens"], result.token_share])
    judged = [list(result.checks).index(result.best)] if result.best in result.checks else []
    blocks: list[Any] = [Table("Which directions carry the off-task change", header, rows, LEGEND, best=judged)]
    if result.best is not None and (best := result.checks[result.best]).random_sufficiency:
        bars: list[tuple[str, float, float | None, float | None]] = [(result.best, best.sufficiency, *best.interval)]
        largest = sorted(best.random_sufficiency, reverse=True)[:8]
        bars += [(f"random {i}", s, None, None) for i, s in enumerate(largest, 1)]
        blocks.append(
            Bars("The judged candidate and the largest random subspaces", bars, "Share of the off-task change.")
        )
    return blocks
