"""A training run seen as five points, and the edits that act there."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.errors import CannotAttach
from despur.core.run.forward_edits import ForwardEdits
from despur.core.run.launch import average, bare_model, mean_over_processes, reshard
from despur.core.types import Context, Edit

_ON_TENSORS = ("loss", "gradient", "weight")


class GuardedRun:
    """The edits of one run, bound to one model; nothing is changed before `start`."""

    def __init__(self, model: Any, edits: Sequence[Edit], *, seed: int, steps: int = 0) -> None:
        self.model, self.steps, self.step = bare_model(model), steps, 0
        self.rng = torch.Generator().manual_seed(seed)
        self.edits = {point: [e for e in edits if e.point == point] for point in _ON_TENSORS}
        for edit in edits:
            edit.bind(self.model)
        self.figures: dict[str, float] = {}  # what loss edits gave beside the loss, in the last step
        self.forward = ForwardEdits(self.model, edits, self.context)
        reshard(self.model)
        self.trained = self._trained()

    def start(self, *, constrained: bool = False, running: Callable[[], bool] | None = None) -> None:
        """Find the weights that are to be trained, apply the weight edits unless they are `constrained`, hook the model.

        Args:
            constrained: Whether the weights are already where the guards allow them to be.
            running: Whether training still goes on; hooks that find it gone remove themselves.
        """
        known, self.trained = self.trained.keys(), self._trained()  # again: launchers may have sharded them since
        if known != self.trained.keys():
            raise CannotAttach(
                f"{len(known ^ self.trained.keys())} weights were frozen or unfrozen after the guard had looked at the model. "
                "Make a new Trainer with a new callback"
            )
        if not constrained:
            self.hold_weights()
        self.forward.attach(running)

    def end(self) -> None:
        """Take every hook off the model."""
        self.forward.detach()

    def _trained(self) -> dict[str, nn.Parameter]:
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        if not trained:
            raise CannotAttach("the model has no trainable parameters. Wrap it with peft.get_peft_model first")
        return trained

    def context(self) -> Context:
        """What an edit may know now."""
        return Context(self.model, self.step, self.steps, self.rng, self.forward.tokens)

    def add_losses(self, *, apart: bool = False) -> Tensor | None:
        """Backpropagate the guards' losses into `.grad`, where the task's own gradients join them.

        Args:
            apart: Average the guards' gradients over the processes on their own: the task's were averaged before.
        """
        if not self.edits["loss"]:
            return None
        device = next(iter(self.trained.values())).device
        tensors: Any = {"loss": torch.zeros((), device=device)}
        self.forward.tokens = mean_over_processes(self.forward.tokens, device)  # all must draw the same rows, or none
        with self.forward.paused():
            for edit in self.edits["loss"]:
                tensors = edit(tensors, self.context())
            self.forward.tokens = 0
            if tensors["loss"].requires_grad:
                with self._apart() if apart else contextlib.nullcontext():
                    tensors["loss"].backward()
        self.figures = {name: float(value) for name, value in tensors.items() if name != "loss"}
        return tensors["loss"].detach()

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        own = {n: p.grad for n, p in self.trained.items()}
        for parameter in self.trained.values():
            parameter.grad = None
        yield
        with torch.no_grad():
            new = {n: p.grad for n, p in self.trained.items() if p.grad is not None}
            average(list(new.values()))
            for name, grad in own.items():
                if grad is not None:
                    self.trained[name].grad = grad.add_(new[name]) if name in new else grad

    @torch.no_grad()
    def edit_gradients(self) -> None:
        """Let the gradient edits act, before the optimiser does."""
        self.forward.check()  # the weights have not moved yet
        if not self.edits["gradient"]:
            return
        grads = {n: p.grad for n, p in self.trained.items() if p.grad is not None}
        for edit in self.edits["gradient"]:
            for name, new in edit(grads, self.context()).items():
                if new is not grads[name]:
                    grads[name].copy_(new)

    @torch.no_grad()
    def hold_weights(self) -> None:
        """Let the weight edits act."""
        for edit in self.edits["weight"]:
            for name, new in edit(self.trained, self.context()).items():
                if new is not self.trained[name]:
                    self.trained[name].copy_(new)
