"""A training run seen as five points, and the edits that act there: for Trainers and for plain loops."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from despur.core._types import Context, Edit
from despur.core.errors import CannotAttach

_HANDLED = ("loss", "gradient", "weight")


class _GuardedRun:
    """The edits of one run, bound to one model."""

    def __init__(self, model: nn.Module, edits: Sequence[Edit], *, seed: int, steps: int) -> None:
        for edit in edits:
            if edit.point not in _HANDLED:
                raise CannotAttach(
                    f"{type(edit).__name__} acts at {edit.point!r}; a trainer takes {', '.join(_HANDLED)}. "
                    "Use despur.attach for activations"
                )
        self.model, self.steps, self.step = model, steps, 0
        self.rng = torch.Generator().manual_seed(seed)
        self.edits = {point: [e for e in edits if e.point == point] for point in _HANDLED}
        for edit in edits:
            edit.bind(model)
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        if not self.trained:
            raise CannotAttach("the model has no trainable parameters. Wrap it with peft.get_peft_model first")
        self.hold_weights()

    def context(self) -> Context:
        return Context(self.model, self.step, self.steps, self.rng)

    def add_losses(self) -> Tensor | None:
        """Backpropagate the guards' losses into `.grad`, where the task's own gradients join them."""
        if not self.edits["loss"]:
            return None
        device = next(iter(self.trained.values())).device
        tensors: Any = {"loss": torch.zeros((), device=device)}
        for edit in self.edits["loss"]:
            tensors = edit(tensors, self.context())
        if tensors["loss"].requires_grad:
            tensors["loss"].backward()
        return tensors["loss"].detach()

    @torch.no_grad()
    def edit_gradients(self) -> None:
        if not self.edits["gradient"]:
            return
        grads = {n: p.grad for n, p in self.trained.items() if p.grad is not None}
        for edit in self.edits["gradient"]:
            for name, new in edit(grads, self.context()).items():
                if new is not grads[name]:
                    grads[name].copy_(new)

    @torch.no_grad()
    def hold_weights(self) -> None:
        for edit in self.edits["weight"]:
            for name, new in edit(self.trained, self.context()).items():
                if new is not self.trained[name]:
                    self.trained[name].copy_(new)


class GuardCallback(TrainerCallback):
    """Guard a `transformers.Trainer` or TRL `SFTTrainer` run: one line in the script that people have.

    Loss edits backpropagate before the first micro-batch of a step, so that accumulation, clipping and
    logging of gradient norms see one sum. Gradient edits act before the optimiser, weight edits after it
    and once at the start. If an edit cannot attach, training does not start.

    Args:
        edits: Guards, in the order in which they act.
        seed: Seeds the guards' own draws of rows, which leave the trainer's random state alone; LoRA dropout, where
            there is any, also acts in a functional guard's own forward pass.

    Raises:
        CannotAttach: when training begins, if a guard would not act on this model.

    Example:
        >>> from despur.guard import grasp
        >>> from despur.core import Subspace
        >>> callback = GuardCallback(grasp(Subspace.orthonormal(torch.eye(2, 64))))
        >>> # SFTTrainer(model, ..., callbacks=[callback]).train()
    """

    def __init__(self, *edits: Edit, seed: int = 0) -> None:
        if not edits:
            raise CannotAttach("GuardCallback got no edits, so nothing would be guarded. Pass at least one")
        self._edits, self._seed = edits, seed
        self._run: _GuardedRun | None = None
        self.losses: list[float] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Bind every guard to the model; a resumed run continues its own draws."""
        self._run = _GuardedRun(
            _unwrapped(model), self._edits, seed=self._seed + state.global_step, steps=state.max_steps
        )
        self._run.step = state.global_step

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add the guards' losses."""
        run = self._running()
        loss = run.add_losses()
        if loss is not None:
            self.losses.append(float(loss))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Edit the gradients."""
        self._running().edit_gradients()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hold the weights where the guards allow them to be."""
        run = self._running()
        run.hold_weights()
        run.step += 1

    def _running(self) -> _GuardedRun:
        if self._run is None:
            raise CannotAttach(
                "the guard was added after training began, so it never attached. Pass it as callbacks=[...]"
            )
        return self._run


@contextlib.contextmanager
def guarded(
    model: nn.Module, optimizer: torch.optim.Optimizer, *edits: Edit, seed: int = 0, steps: int = 0
) -> Iterator[None]:
    """Guard a hand-written loop: the guards ride on the optimiser's own `step` until the block ends.

    Loss edits backpropagate just before the step: clip gradients with that in mind.

    Args:
        model: The model with its trainable parameters.
        optimizer: Any torch optimiser.
        edits: Guards, in the order in which they act.
        seed: Seeds the guards' own draws.
        steps: Optimiser steps planned, where a guard has a schedule.

    Raises:
        CannotAttach: a guard would not act on this model.

    Example:
        >>> # with guarded(model, optimizer, grasp(factor)):
        >>> #     for batch in batches: ...; optimizer.step(); optimizer.zero_grad()
    """
    run = _GuardedRun(model, edits, seed=seed, steps=steps)

    def before(*_: Any) -> None:
        run.add_losses()
        run.edit_gradients()

    def after(*_: Any) -> None:
        run.hold_weights()
        run.step += 1

    handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unwrapped(model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise CannotAttach(
            f"the trainer gave no model to guard (got {type(model).__name__}). Is it a transformers Trainer?"
        )
    return model
