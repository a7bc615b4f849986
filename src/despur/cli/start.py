"""A quick start: no garbage collection while modules are imported, which would take a third of the import time."""

import gc
from importlib import import_module

_WHOLE = 1_000_000  # objects before the first look: more than torch, transformers and peft together make
_before: list[tuple[int, int, int]] = []


def begin() -> None:
    """Delay garbage collection until `settled` is called or a million objects exist."""
    _before.append(gc.get_threshold())
    gc.set_threshold(_WHOLE)


def settled(*modules: str) -> None:
    """Collect garbage as usual from now on, except what exists already; does nothing without `begin`.

    Args:
        modules: What the command imports in any case; imported now, so that it is left out, too.
    """
    if _before:
        for module in modules:
            import_module(module)
        gc.freeze()
        gc.set_threshold(*_before.pop())
