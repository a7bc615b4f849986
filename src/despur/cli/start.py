"""A quick start: what is imported lives to the end, and to look for garbage among it takes a third of the time to import it."""

import gc
from importlib import import_module

_WHOLE = 1_000_000  # objects before the first look: more than torch, transformers and peft together make
_before: list[tuple[int, int, int]] = []


def begin() -> None:
    """Put off garbage collection until `settled` is called, or a million objects were made."""
    _before.append(gc.get_threshold())
    gc.set_threshold(_WHOLE)


def settled(*modules: str) -> None:
    """Collect garbage as ever from now on, but leave out what is there already; nothing without `begin`.

    Args:
        modules: What the command will import in any case, so that it counts as there.
    """
    if _before:
        for module in modules:
            import_module(module)
        gc.freeze()
        gc.set_threshold(*_before.pop())
