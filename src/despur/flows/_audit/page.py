"""Result of an audit."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from despur.core import Report, Subspace
from despur.flows._audit.json_form import SCHEMA, AuditJson
from despur.flows._audit.louder_words import LouderVoice
from despur.flows._audit.of_adapter import OfAdapter
from despur.flows._audit.patch import patch_json, patch_sentence
from despur.measure import CausalCheck, LossSlope, ModuleShare
from despur.measure.scaled import Louder
from despur.report.fragment import fragment

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
        calibration: Their recipe and number, the statistic, and its threshold at the level; empty without a null.
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
        louder_words: What it says with its difference to the base multiplied; None where it could not be read along.
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
    calibration: dict[str, Any] = field(default_factory=dict)
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
    louder_words: LouderVoice | None = None
    patch: dict[str, Report] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def patch_sentence(self) -> str:
        """Where in a chat the change sits, in a sentence."""
        return patch_sentence(self.patch)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from despur.flows._audit.blocks import audit_blocks

        return fragment(audit_blocks(self)[:2])

    def to_dict(self) -> AuditJson:
        """Plain values for JSON; docs/audit.schema.json has the form."""
        return AuditJson(
            schema=SCHEMA, verdict=self.verdict, sentence=self.sentence, notes=list(self.notes), change=self.change,
            p_value=self.p_value, evidence=dict(self.scores), null=self.null, token_share=self.token_share,
            calibration=self.calibration or None,  # type: ignore[typeddict-item]
            token_use=[{"token": t, "before": a, "after": b} for t, a, b in self.token_use], best=self.best,
            checks={n: asdict(c) for n, c in self.checks.items()},  # type: ignore[typeddict-item]
            tokens=self.tokens, strength=self.strength,
            coherence=[{"strength": s, "coherence": c} for s, c in self.coherence], samples=list(self.samples),
            modules=[m._asdict() for m in self.modules],  # type: ignore[typeddict-item]
            rows=[{"text": t, "score": s} for t, s in self.rows],
            slopes={n: {"slope": s.slope, "steepness": s.steepness, "random": list(s.random)} for n, s in self.slopes.items()},
            louder=[at._asdict() for at in self.louder],  # type: ignore[typeddict-item]
            answers=self.answers, louder_words=self.louder_words and self.louder_words.to_dict(),
            patch=patch_json(self.patch), update=self.update,
            **{"base_fingerprint": "", **self.record},  # type: ignore[typeddict-item]
        )  # fmt: skip
