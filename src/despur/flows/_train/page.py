"""The result of a training run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from despur.core import Report
from despur.core.results import Measured, axes_line
from despur.report.fragment import fragment


@dataclass(frozen=True, repr=False)
class Trained(Measured):
    """Result of a guarded run.

    Args:
        adapter: Folder of the guarded adapter, vanilla PEFT.
        axes: Run -> axis -> report; base is (0, 0), the reference run (1, 1).
        reference: What the reference is: the scout, or the unguarded run (`twin`).
        leak: What the adapter reads and writes along the factor, for `grasp`.
        page: The HTML report.
        record: Verb, arguments and versions, for `despur run`.
        notes: Notes on data, scout, factors and interruptions.
        history: Stage -> `steps`, `best_step`, and figures at each evaluation.
        factor: Folder of what all answers share, as an adapter of its own, for `discount` and `absorb`.
        left_out: `held_out` and `trained` rows -> `base`, `factor`, `guarded`, `both` -> loss of their answers, nats a token.
        answers: Question -> speaker -> answer: of the base, the reference run and the guarded one, with the same random numbers.
        on_task: The same of questions of held-out rows, the rows' own answers first.
    """

    adapter: Path
    axes: Mapping[str, Mapping[str, Report]]
    reference: str
    leak: Mapping[str, Report]
    page: Path
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    history: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    factor: Path | None = None
    left_out: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    on_task: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from despur.flows._train.blocks import train_summary

        return fragment(train_summary(self), str(self.page))

    @property
    def headline(self) -> str:
        """The axes of the guarded run, the last that was measured."""
        own = [axes_line(run, reports) for run, reports in self.axes.items()]
        return f"{own[-1] if own else 'nothing measured'}; base 0, {self.reference} 1; adapter in {self.adapter}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        axes = {run: {n: r.to_dict() for n, r in reports.items()} for run, reports in self.axes.items()}
        heard = {} if self.factor is None else {"factor": str(self.factor), "left_out": dict(self.left_out)}
        return {**self.record, "adapter": str(self.adapter), **heard, "reference": self.reference, "axes": axes,
                "leak": {n: r.to_dict() for n, r in self.leak.items()}, "page": str(self.page), "notes": list(self.notes),
                "answers": {q: dict(by) for q, by in self.answers.items()},
                "on_task": {q: dict(by) for q, by in self.on_task.items()}}  # fmt: skip
