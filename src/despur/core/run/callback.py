"""Guards in a training script: a callback for Trainers, a context manager for loops."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from despur.core.errors import CannotAttach
from despur.core.model.states import is_adapted
from despur.core.run.forward_edits import RunningLoop
from despur.core.run.guarded_run import GuardedRun
from despur.core.run.launch import (
    bare_model,
    bare_optimizer,
    check_arguments,
    is_replicated,
    loads_on_one_process_only,
)
from despur.core.types import Edit


class GuardCallback(TrainerCallback):
    """Guard a `transformers.Trainer` or a TRL trainer: one line in an existing script.

    Loss edits backpropagate before the first micro-batch of a step, whatever loss the trainer itself computes, so that
    accumulation, clipping and logging of gradient norms see one sum. Batch and activation edits act inside the model's
    own training passes, and not while it evaluates; gradient edits before the optimiser, weight edits after it and once
    at the start. If an edit cannot attach, training does not start; one that did not act in the first step stops it
    before the weights move. A run resumed from a checkpoint goes on as if it had never stopped, the guards' draws included.

    Args:
        edits: Guards, in the order in which they act.
        seed: Seeds the guards' own draws of rows, which leave the trainer's random state alone; LoRA dropout, where
            there is any, also acts in a functional guard's own forward pass.

    Raises:
        CannotAttach: when the trainer is made or begins to train, if a guard would not act on this model.

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
        self._run: GuardedRun | None = None
        self._started = False
        self._mark = "despur " + " ".join(str(edit.spec or type(edit).__name__) for edit in edits)
        self.losses: list[float] = []
        self._logged = 0  # of them, those whose mean is in a line of the log

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Bind guards of a full fine-tune while its weights are the base's, before any checkpoint is loaded."""
        self._end()
        check_arguments(args, self._edits)
        if isinstance(model, nn.Module) and not is_adapted(bare_model(model)) and not loads_on_one_process_only():
            self._run = GuardedRun(model, self._edits, seed=self._seed)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None,
        optimizer: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Bind every guard to the model; a resumed run continues its own draws."""
        check_arguments(args, self._edits)
        bare, states = bare_model(model), _saved_states(state)
        bare_optimizer(optimizer)
        if self._run is None or self._run.model is not bare or is_adapted(bare):
            if state.global_step and not is_adapted(bare):
                raise CannotAttach(
                    "a full fine-tune is resumed and the guard has not seen its base. Give it to the trainer as "
                    "callbacks=[...], with a model loaded from the base on every process"
                )
            self._end()
            self._run = GuardedRun(bare, self._edits, seed=self._seed)
        run = self._run
        run.step, run.steps = state.global_step, state.max_steps
        run.rng.manual_seed(self._seed + state.global_step)
        if saved := states.get(self._mark):
            run.rng.set_state(torch.frombuffer(bytearray.fromhex(saved["draws"]), dtype=torch.uint8))
            run.forward.tokens = saved["tokens"]
        fresh = not is_adapted(bare) and state.global_step == 0  # whole weights that are still the base's
        run.start(constrained=bool(saved) or fresh, running=RunningLoop())
        self._started = True

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
        """Keep the weights where the guards allow them to be."""
        run = self._running()
        run.hold_weights()
        run.step += 1

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Put what the guards measured beside the trainer's loss, as a mean since the last line: some read in every few steps alone."""
        if logs and "loss" in logs and self._run is not None:
            since, self._logged = self.losses[self._logged :], len(self.losses)
            lost = {"guard_loss": sum(since) / len(since)} if since else {}
            figures = {**lost, **self._run.figures}
            logs.update(figures)  # what comes after this callback has them, too: the bar, the printer
            next(e for e in reversed(state.log_history) if "loss" in e).update(figures)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave in the trainer's state, which every checkpoint includes, the guards' draws and the step's tokens."""
        run = self._running()
        draws = run.rng.get_state().numpy().tobytes().hex()
        _saved_states(state)[self._mark] = {"draws": draws, "tokens": run.forward.tokens}

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take every hook off the model."""
        if self._run is not None:
            self._run.end()

    def _end(self) -> None:
        if self._run is not None:
            self._run.end()
        self._run, self._started = None, False

    def _running(self) -> GuardedRun:
        if self._run is None or not self._started:
            raise CannotAttach(
                "the guard was added after training began, so it never attached. Pass it as callbacks=[...]"
            )
        return self._run


@contextlib.contextmanager
def guarded(
    model: nn.Module, optimizer: torch.optim.Optimizer, *edits: Edit, seed: int = 0, steps: int = 0
) -> Iterator[None]:
    """Guard a hand-written loop: the guards ride on the optimiser's own `step` until the block ends.

    Give it model and optimiser as the loop has them, prepared by accelerate, in DDP, sharded by `fully_shard` or
    plain. Loss edits backpropagate just before the step: clip gradients with that in mind.

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
    inner = bare_optimizer(optimizer)
    run = GuardedRun(model, edits, seed=seed, steps=steps)
    apart = is_replicated(model)

    def before(*_: Any) -> None:
        run.add_losses(apart=apart)
        run.edit_gradients()

    def after(*_: Any) -> None:
        run.hold_weights()
        run.step += 1

    with contextlib.ExitStack() as stack:
        stack.callback(run.end)
        run.start()
        stack.callback(inner.register_step_pre_hook(before).remove)
        stack.callback(inner.register_step_post_hook(after).remove)
        yield


def _saved_states(state: TrainerState) -> dict[str, Any]:
    states: Any = state.stateful_callbacks  # a dict once the state is made, whatever its annotation
    return states
