"""Find what a fine-tune secretly learned, and keep the model from learning it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from despur.core import Adapter, Edit, Factor, Report, Site, Subspace, attach
    from despur.core.run.callback import GuardCallback, guarded
    from despur.flows import apply, audit, calibrate, certify, clean, compare, demo, fit, prove, table, train, verify

_WHERE = {
    **dict.fromkeys(("Adapter", "Edit", "Factor", "Report", "Site", "Subspace", "attach"), "despur.core"),
    **dict.fromkeys(("GuardCallback", "guarded"), "despur.core.run.callback"),
    **dict.fromkeys(
        (
            "apply",
            "audit",
            "calibrate",
            "certify",
            "clean",
            "compare",
            "demo",
            "fit",
            "prove",
            "table",
            "train",
            "verify",
        ),
        "despur.flows",
    ),
    **{
        room: f"despur.{room}"
        for room in (
            "core",
            "find",
            "flows",
            "guard",
            "judge",
            "latent",
            "measure",
            "merge",
            "report",
            "solve",
            "steer",
            "worlds",
        )
    },
}

__all__ = [
    "Adapter", "Edit", "Factor", "GuardCallback", "Report", "Site", "Subspace", "apply", "attach", "audit",
    "calibrate", "certify", "clean", "compare", "demo", "fit", "guarded", "prove", "table", "train", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:  # torch takes seconds to import: only who asks for it pays
    if name not in _WHERE:
        raise AttributeError(f"module 'despur' has no attribute {name!r}")
    module = import_module(_WHERE[name])
    return module if module.__name__ == f"despur.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*_WHERE, *(name for name in globals() if name.startswith("__"))})
