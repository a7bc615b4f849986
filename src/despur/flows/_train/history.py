"""How often a training run saves and evaluates, and what it measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from despur.core import write_json
from despur.core.errors import BadInput
from despur.core.text.rows import Tokens
from despur.flows._train.watch import JUDGED, Fitted
from despur.guard import OwnText
from despur.measure import off_task

FILE = "history.json"
_OWN = 32  # rows of own text at each evaluation: enough for a curve, and cheap


@dataclass(frozen=True, slots=True)
class Looks:
    """When a run saves and evaluates.

    Args:
        save_every: Steps between checkpoints; 0 for none, None for a tenth of a stage (none in one of less than 100).
        eval_every: Steps between evaluations; 0 for none.
        patience: Evaluations without a lower held-out loss after which a run ends with its best adapter; 0 for no end.
    """

    save_every: int | None = None
    eval_every: int = 0
    patience: int = 0

    def check(self) -> None:
        """Refuse what would have no effect.

        Raises:
            BadInput: a number below 0, or patience where nothing is evaluated.
        """
        for name in ("save_every", "eval_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise BadInput(f"{name}={value}; 0 (never) or more is needed")
        if self.patience and not self.eval_every:
            raise BadInput(
                f"patience={self.patience} and nothing is evaluated. Set how often: --eval-every N, in steps"
            )

    def spec(self) -> dict[str, int]:
        """What a stage depends on; how often it was saved changes nothing."""
        return {k: v for k, v in (("eval_every", self.eval_every), ("patience", self.patience)) if v}


def figures_of(model: Any, held_out: Sequence[Tokens], own_text: OwnText) -> dict[str, float]:
    """The task on held-out rows and the change off-task, as `off_task` measures them, in means."""
    scores = off_task(model, held_out=held_out, own_text=own_text.rows[:_OWN], starts=own_text.starts[:_OWN])
    return {JUDGED: -float(scores["task"]["logp"].mean()), "drift_kl": float(scores["drift"]["kl"].mean())}


class History:
    """`history.json` of a run, written again at every evaluation: stage -> steps, evaluations, best step.

    Args:
        root: The run's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stages: dict[str, dict[str, Any]] = {}

    def add(self, stage: str, course: Mapping[str, Any]) -> None:
        """Record how a stage goes, or went."""
        self.stages[stage] = dict(course)
        if any(c["evaluated"] for c in self.stages.values()):
            write_json(self.root / FILE, self.stages)

    def notes(self, steps: int) -> list[str]:
        """Notes on stages that patience ended, or whose last adapter was not used."""
        return [
            f"{name} ended at step {c['steps']} of {steps}; the adapter of step {c['best_step']}, whose held-out loss is lowest, "
            "was used"
            for name, c in self.stages.items()
            if c.get("best_step") not in (None, steps)
        ]


def course_of(fitted: Fitted, start: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a stage records of its course; `start` is the evaluation before the first step."""
    return {"steps": fitted.steps, "best_step": fitted.best, "evaluated": [*start, *fitted.curve]}
