"""Result of an audit of rows."""

from dataclasses import dataclass, field
from typing import Any

from despur.core.errors import DespurError
from despur.core.results import Record, Result
from despur.flows._audit.json_form import ROWS_SCHEMA, RowsAuditJson
from despur.flows._audit.rows.verdict import Judged
from despur.report.fragment import fragment

Row = tuple[str, float]


@dataclass(frozen=True, repr=False)
class RowsAudit(Result):
    """Result of an audit of rows.

    Args:
        judged: The verdict, and what it was judged by.
        notes: What was done to the rows, and what could not be verified.
        answers: Everyday question -> speaker -> answer; speakers are `base`, `scout` and `plain`.
        change: Tune -> KL(tune || base) off-task, nats per token.
        words: Words that the scout makes likelier off-task, beyond the null's: with the mean probability in the base and by tune.
        rows: Scored rows with the scout's gain on their answer, nats per token, those that carry most of it first.
        losses: Base, scout and plain tune -> mean loss on the scored rows, nats per token.
        counts: Rows that were learned, and scored.
        cost: Seconds that were estimated before the start, and taken.
        record: Verb, arguments and versions, for `despur run`.
    """

    judged: Judged
    notes: tuple[str, ...]
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    change: dict[str, float] = field(default_factory=dict)
    words: tuple[tuple[str, dict[str, float]], ...] = ()
    rows: tuple[Row, ...] = ()
    losses: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """Verdict and sentence."""
        return f"{self.verdict}: {self.sentence}"

    @property
    def details(self) -> tuple[str, ...]:
        """Notes."""
        return self.notes

    def records(self) -> list[Record]:
        """One row a scored row, those that carry most of what is shared first."""
        return [{"gain": gain, "row": text} for text, gain in self.rows]

    @property
    def verdict(self) -> str:
        """The verdict's word."""
        return self.judged.word

    @property
    def sentence(self) -> str:
        """The verdict's sentence."""
        return self.judged.sentence

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from despur.flows._audit.rows.blocks import rows_blocks

        return fragment(rows_blocks(self)[:3])

    def to_dict(self) -> RowsAuditJson:
        """Plain values for JSON, in the form of docs/audit-rows.schema.json."""
        j = self.judged
        return RowsAuditJson(
            schema=ROWS_SCHEMA, verdict=j.word, sentence=j.sentence, notes=list(self.notes), recognised=j.recognised, p_value=j.p_value,
            beyond=j.beyond, explained=j.explained, spread=j.spread, change=self.change, losses=self.losses, answers=self.answers,
            words=[{"token": t, "probability": p} for t, p in self.words], rows=[{"text": t, "score": s} for t, s in self.rows],
            counts=self.counts, cost=self.cost, **{"base_fingerprint": "", **self.record},  # type: ignore[typeddict-item]
        )  # fmt: skip


def unreadable_rows(error: DespurError, record: dict[str, Any]) -> RowsAudit:
    """The audit of what cannot be read: the error as its sentence."""
    nothing = (0.0, 0.0, 0.0)
    return RowsAudit(Judged("unreadable", str(error), None, nothing, 1.0, nothing, 1.0), (), record=record)
