"""A scout: a short, unguarded run, switched on for a moment."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from despur.core.adapter.adapter import Adapter
from despur.core.errors import CannotAttach
from despur.core.model.states import same_flags


@contextlib.contextmanager
def as_scout(model: Any, folder: Path | str) -> Iterator[Any]:
    """The model with another adapter switched on for a moment; its own comes back untouched."""
    if not hasattr(model, "disable_adapter"):
        raise CannotAttach(
            "this guard needs a PEFT model, to switch to the scout and back. Wrap it with get_peft_model"
        )
    Adapter.read(folder).check(model)  # before anything is loaded: it is there, was trained, and on this base
    name, active, main = "despur_scout", list(model.active_adapters), model.active_adapter
    with same_flags(model):
        try:
            with torch.random.fork_rng(devices=[]):
                model.load_adapter(str(folder), adapter_name=name)
            model.set_adapter(name)
            model.eval()
            yield model
        finally:
            model.base_model.set_adapter(active)  # several may have been on, which PEFT's own set_adapter cannot say
            model.active_adapter = main
            if name in model.peft_config:
                model.delete_adapter(name)
