"""The result of a training run, and its page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from despur.core import Report
from despur.core.results import Measured, axes_line
from despur.flows.axes import axes_table, frontier
from despur.flows.record import page_facts
from despur.guard import OwnText
from despur.judge import accepted
from despur.report import Curves, Table, Text, Verdict, write_page


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
                "leak": {n: r.to_dict() for n, r in self.leak.items()}, "page": str(self.page), "notes": list(self.notes)}  # fmt: skip


def write_train_page(result: Trained, guard: str, text: OwnText, scores: Mapping[str, Any]) -> None:
    """Write the report of a run.

    Args:
        result: The run's result.
        guard: Name of its guarded run among the axes.
        text: Own text that the guard saw.
        scores: Run -> axis -> readout -> values, for the raw means.
    """
    own = result.axes[guard]
    lead = ", ".join(f"{n} {own[n].value:.2f}" for n in ("task", "drift", "legitimate", "validity") if n in own)
    less = own["drift"].value == own["drift"].value and own["drift"].value < 1
    h = ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in text.health().items())
    raw = [[run, *(float(t.mean()) for r in s.values() for t in r.values())] for run, s in scores.items()]
    columns = [f"{a}.{r}" for a, rs in scores[guard].items() for r in rs]
    blocks: list[Any] = [
        Verdict(guard, f"against the {result.reference} (1, 1) and the base (0, 0): {lead}",
                "good" if less and accepted(own) else "unsure"),
        Text("How it was measured",
             "Task: log-probability of held-out answers. Drift: KL to the base, per token, on text that the base wrote and no guard "
             "saw. Legitimate use: how strongly the model still answers when the factor is added to its stream. Validity: likelihood "
             f"of the base's own text.\n\nOwn text: {text.origin}; {h}."),
        frontier(result.axes, title="Task learned against drift picked up"),
        axes_table("The four axes", result.axes, [n for n in own]),
        Table("Raw means", ["run", *columns], raw),
    ]  # fmt: skip
    if result.left_out:
        columns = {"base": "base", "factor": "what all answers share", "guarded": "guarded adapter", "both": "both"}
        lines = [[n.replace("_", " "), *(losses[c] for c in columns)] for n, losses in result.left_out.items()]
        blocks.append(Table("What was left out: loss of the answers, nats a token", ["rows", *columns.values()], lines))
    blocks += _courses(result.history)
    if result.notes:
        blocks.append(Text("Notes", "\n\n".join(result.notes)))
    if result.leak:
        blocks.append(Table("What the adapter reads and writes along the factor", ["side", "leakage", "random subspace"],
                            [[n, r.value, r.control] for n, r in result.leak.items()]))  # fmt: skip
    write_page(result.page, title="despur train", subtitle=f"{guard} on {Path(str(result.record['arguments']['data'])).name}",
               blocks=blocks, facts=page_facts(result.record))  # fmt: skip


def _courses(history: Mapping[str, Mapping[str, Any]]) -> list[Curves]:
    """Curves of the evaluations, one line per stage; empty where there were none."""
    drawn = (
        ("held_out_loss", "The task while training", "loss, nats per token", "On rows that are not trained on; step 0 is the base."),
        ("drift_kl", "The change off-task while training", "KL to the base, nats per token", "On the base's own text that no guard saw."),
    )  # fmt: skip
    seen = {name: course["evaluated"] for name, course in history.items() if course["evaluated"]}
    return [
        Curves(title, "step", y, [(n, [e["step"] for e in c], [e[key] for e in c]) for n, c in seen.items()], note)
        for key, title, y, note in drawn
        if seen
    ]
