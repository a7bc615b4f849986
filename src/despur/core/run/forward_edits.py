"""Edits inside the training forward pass: hooks that come when training begins and are gone when it ends."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.errors import CannotAttach
from despur.core.model.attach import attach, find_module
from despur.core.run.task_batch import rows_of, tokens_of
from despur.core.types import Context, Edit, Site

_HANDLER = "transformers.trainer_callback"
_uncompiled: Any = torch.compiler.disable  # whether an edit acts is asked in every pass


class ForwardEdits:
    """Batch and activation edits of one run, attached to one model.

    They act in training mode and with gradients only: not while the model evaluates, generates or is its own
    reference, nor while another guard runs it. A pass that checkpointing computes again is edited the same way: what an
    activation edit draws depends on the step alone.

    Args:
        model: The bare model.
        edits: Bound already; those of other points are left out.
        context: Gives the edits their `Context`.
    """

    def __init__(self, model: nn.Module, edits: Sequence[Edit], context: Callable[[], Context]) -> None:
        self.model, self.context = model, context
        self.batch = [e for e in edits if e.point == "batch"]
        self.activation = [e for e in edits if e.point == "activation"]
        self.counts = any(e.point == "loss" for e in edits)  # whose budget is a share of the task's tokens
        self.tokens = 0
        for edit in self.activation:
            if not edit.sites:
                raise CannotAttach(
                    f"{type(edit).__name__} names no site to act at. Give it one, or use despur.attach for a moment"
                )
            for site in edit.sites:
                find_module(model, site.module)
        self._hooks = contextlib.ExitStack()
        self._running: Callable[[], bool] = _always
        self._here: bool | None = None  # inside the model's own forward pass: whether the edits act in it
        self._paused = False
        self._silent: set[tuple[Edit, Site | None]] = set()  # what has not acted yet

    def attach(self, running: Callable[[], bool] | None = None) -> None:
        """Hook the model, again if it is hooked.

        Args:
            running: Whether the training that this is for still goes on; hooks that find it gone remove themselves.
        """
        self.detach()
        if not self.batch and not self.activation and not self.counts:
            return
        self._running = running or _always
        self._silent = {(e, site) for e in self.activation for site in e.sites}
        self._silent.update((e, None) for e in self.batch)
        with contextlib.ExitStack() as hooks:
            enter = self.model.register_forward_pre_hook(self._enter, with_kwargs=True)
            leave = self.model.register_forward_hook(self._leave, always_call=True)
            hooks.callback(enter.remove)
            hooks.callback(leave.remove)
            for edit in self.activation:
                hooks.enter_context(attach(self.model, {site: _Live(edit, site, self) for site in edit.sites}))
            self._hooks = hooks.pop_all()

    def detach(self) -> None:
        """Remove every hook."""
        self._hooks.close()
        self._here, self._paused, self._running = None, False, _always

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the model as it will be used, for a guard's own forward and backward pass."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def check(self) -> None:
        """Refuse to go on where an edit did not act in the first step.

        Raises:
            CannotAttach: an edit has not acted.
        """
        if self._silent:
            points = {e.point for e, _ in self._silent}
            where = sorted(f"{site.module} ({site.side})" for _, site in self._silent if site)
            raise CannotAttach(
                f"a guard at the {' and the '.join(sorted(points))} did not act in the first training step "
                f"{'at ' + ', '.join(where) + ' ' if where else ''}and so guards nothing. The trainer has to run this very model, "
                "in training mode (model.train()) and with gradients"
            )

    def acts(self) -> bool:
        """Whether what is being computed now is training's own."""
        if self._paused or not self.model.training:
            return False
        return torch.is_grad_enabled() if self._here is None else self._here  # outside: a layer that is computed again

    def has_acted(self, edit: Edit, site: Site | None = None) -> None:
        """Remove an edit from the list of those that have not acted yet."""
        self._silent.discard((edit, site))

    @_uncompiled
    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._running():  # training was broken off, and Trainer does not report exceptions to callbacks
            self.detach()
            return None
        self._here = None
        self._here = self.acts()
        if self._here:
            self.tokens += tokens_of(args, kwargs)
        if not self._here or not self.batch:
            return None
        given = rows = rows_of(args, kwargs)
        for edit in self.batch:
            self.has_acted(edit)
            rows = edit(rows, self.context())
        return None if rows is given else (args, {**kwargs, **rows})

    @_uncompiled
    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._here = None


class _Live(Edit):
    """One edit at one site, where and when training computes."""

    point = "activation"

    def __init__(self, edit: Edit, site: Site, owner: ForwardEdits) -> None:
        super().__init__()
        self.edit, self.site, self.owner = edit, site, owner

    @_uncompiled
    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not self.owner.acts():
            return tensors
        self.owner.has_acted(self.edit, self.site)
        now = self.owner.context()
        return self.edit(tensors, replace(now, rng=torch.Generator().manual_seed(now.step)))


class RunningLoop:
    """Whether the training loop that is calling a callback now has neither returned nor raised."""

    def __init__(self) -> None:
        frame: FrameType | None = inspect.currentframe()
        inside = False
        while frame is not None and (not inside or frame.f_globals.get("__name__") == _HANDLER):
            inside = inside or frame.f_globals.get("__name__") == _HANDLER
            frame = frame.f_back
        self._loop = frame  # None where no Trainer called: then it is unknown

    def __call__(self) -> bool:
        """Whether the loop still runs."""
        frame: FrameType | None = inspect.currentframe()
        while frame is not None and frame is not self._loop:
            frame = frame.f_back
        return self._loop is None or frame is not None


def _always() -> bool:
    return True
