"""Activation edits on a live model: the only hooks of the library, always removed again."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.errors import SiteNotFound, nearest
from despur.core.model.base_modules import module_at
from despur.core.types import Context, Edit, Site


def find_module(model: nn.Module, name: str) -> nn.Module:
    """Return the module of that name; adapters wrapped around a base are skipped.

    Raises:
        SiteNotFound: no such module; the message names the nearest ones.
    """
    for prefix in ("", "base_model.model."):
        found = module_at(model, prefix + name)
        if found is not None:
            return found
    raise SiteNotFound(f"no module {name!r} in {type(model).__name__}{nearest(name, dict(model.named_modules()))}")


@contextlib.contextmanager
def attach(model: nn.Module, edits: Mapping[Site, Edit], ctx: Context | None = None) -> Iterator[None]:
    """Edit activations at the given sites while the block runs; no hook outlives it, even after an exception.

    Args:
        model: Any module tree.
        edits: One activation edit a site; it gets and returns `{site.module: (*b, d)}`.
        ctx: What the edits may know; made from the model if left out.

    Raises:
        SiteNotFound: a site is not in the model (raised before anything is hooked).

    Example:
        >>> class Zero(Edit):
        ...     point = "activation"
        ...     def forward(self, tensors, ctx):
        ...         return {name: torch.zeros_like(x) for name, x in tensors.items()}
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2))
        >>> with attach(model, {Site("0"): Zero()}):
        ...     model(torch.ones(1, 2))
        tensor([[0., 0.]])
    """
    context = ctx or Context(model)
    modules = {site: find_module(model, site.module) for site in edits}
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for site, edit in edits.items():
            hook = _edit_input(site, edit, context) if site.side == "in" else _edit_output(site, edit, context)
            register = "register_forward_pre_hook" if site.side == "in" else "register_forward_hook"
            handles.append(getattr(modules[site], register)(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def record(model: nn.Module, sites: Sequence[Site]) -> Iterator[dict[Site, Float[Tensor, "b t d"]]]:
    """Keep what passes each site in the latest forward pass, gradients and all."""
    streams: dict[Site, Tensor] = {}
    with attach(model, {site: _Keep(site, streams) for site in sites}):
        yield streams


class _Keep(Edit):
    point = "activation"

    def __init__(self, site: Site, streams: dict[Site, Tensor]) -> None:
        super().__init__()
        self.site, self.streams = site, streams

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        self.streams[self.site] = tensors[self.site.module]
        return tensors


def _edit_output(site: Site, edit: Edit, ctx: Context):
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor | tuple[Any, ...]) -> Tensor | tuple[Any, ...]:
        seen = {site.seen: args[0]} if site.side == "both" else {}
        if isinstance(output, tuple):  # decoder blocks of some versions return (hidden, cache, ...)
            return (edit({site.module: output[0], **seen}, ctx)[site.module], *output[1:])
        return edit({site.module: output, **seen}, ctx)[site.module]

    return hook


def _edit_input(site: Site, edit: Edit, ctx: Context):
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (edit({site.module: args[0]}, ctx)[site.module], *args[1:])

    return hook
