"""What is observed while a run trains: its loss, its evaluations, the best adapter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor, no_grad
from transformers import TrainerCallback

from despur.core.errors import BadInput
from despur.core.model.states import evaluating
from despur.flows.progress import Progress

Evaluate = Callable[[Any, int], Mapping[str, float] | None]  # model, step -> figures
JUDGED = "held_out_loss"  # what patience watches; lower is better
_MARK = "despur"  # an evaluation's figures in Trainer's own log, which is part of every checkpoint


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a run went.

    Args:
        losses: Training loss at every step, those before an interruption included.
        curve: One dict per evaluation: `step`, `loss` (mean since the last one), and what was evaluated.
        steps: Steps that were made; fewer than planned where patience ran out.
        resumed: Step of the checkpoint that it went on from; 0 if none.
        best: Step whose adapter was used; None for the last.
    """

    losses: list[float]
    curve: list[dict[str, Any]]
    steps: int
    resumed: int = 0
    best: int | None = None


class Watch(TrainerCallback):
    """Show, check and evaluate, in the moment in which a step's loss is logged."""

    def __init__(
        self, stage: str, progress: Progress, lr: float, *, every: int = 0, evaluate: Evaluate | None = None, patience: int = 0,
        on_evaluation: Callable[[Fitted], None] | None = None,
    ) -> None:  # fmt: skip
        self.stage, self.progress, self.lr = stage, progress, lr
        self.every, self.evaluate, self.patience, self.on_evaluation = every, evaluate, patience, on_evaluation
        self.resumed = 0
        self.best: dict[str, Tensor] | None = None
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set how often to save: a checkpoint's state has the former start's value."""
        state.save_steps = args.save_steps

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **kwargs: Any) -> None:
        """Look at one step."""
        if not logs or "loss" not in logs:
            return
        step, loss = int(state.global_step), float(logs["loss"])
        self._check(loss, "loss", step)
        if self.evaluate is not None and self.every and (step % self.every == 0 or step == state.max_steps):
            self._look(model, state, control, step)
        figures = {"loss": loss}
        if curve := curve_of(state.log_history):
            figures |= {k.replace("_", " "): v for k, v in curve[-1].items() if k not in ("step", "loss")}
        self.progress(self.stage, step, state.max_steps, figures)

    def _look(self, model: Any, state: Any, control: Any, step: int) -> None:
        assert self.evaluate is not None
        with evaluating(model):
            figures = self.evaluate(model, step)
        if figures is None:
            return
        for name, value in figures.items():
            self._check(value, name.replace("_", " "), step)
        before = curve_of(state.log_history)
        since = before[-1]["step"] if before else 0
        losses = [e["loss"] for e in state.log_history if "loss" in e and e["step"] > since]
        state.log_history.append({"step": step, _MARK: {"loss": sum(losses) / len(losses), **figures}})
        curve = curve_of(state.log_history)
        if self.patience:
            if best_step(curve) == step:
                self.best = self.trainer.best = _trained(model)
            control.should_training_stop |= stale(curve) >= self.patience
        if self.on_evaluation is not None:
            self.on_evaluation(self.fitted(state))

    def fitted(self, state: Any) -> Fitted:
        """How the run went so far."""
        curve = curve_of(state.log_history)
        losses = [float(e["loss"]) for e in state.log_history if "loss" in e]
        return Fitted(
            losses, curve, int(state.global_step), self.resumed, best_step(curve) if self.patience and curve else None
        )

    @no_grad()
    def restore(self, model: Any) -> None:
        """Put the best adapter back."""
        for name, weight in (self.best or {}).items():
            model.get_parameter(name).copy_(weight)

    def _check(self, value: float, name: str, step: int) -> None:
        if not isfinite(value):
            raise BadInput(
                f"the {name} became {value} at step {step} with lr={self.lr}: the run diverged. Take a lower --lr"
            )


def curve_of(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The evaluations in a Trainer's log."""
    return [{"step": e["step"], **e[_MARK]} for e in history if _MARK in e]


def best_step(curve: list[dict[str, Any]]) -> int:
    """Step of the first evaluation that no other one beats."""
    return int(min(curve, key=lambda e: e[JUDGED])["step"])


def stale(curve: list[dict[str, Any]]) -> int:
    """Evaluations since the best one."""
    best = best_step(curve)
    return sum(e["step"] > best for e in curve)


def _trained(model: Any) -> dict[str, Tensor]:
    return {n: p.detach().cpu().clone().contiguous() for n, p in model.named_parameters() if p.requires_grad}
