"""Find what a fine-tune secretly learned, and keep the model from learning it."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

__version__ = "0.2.0"

if _TYPE_CHECKING:
    from despur.core import Adapter, Edit, Factor, Report, Site, Subspace, attach
    from despur.core.run.callback import GuardCallback, guarded
    from despur.flows import (
        apply,
        audit,
        calibrate,
        certify,
        clean,
        compare,
        demo,
        fetch,
        fit,
        prove,
        table,
        train,
        verify,
    )
    from despur.guard import (
        OwnText,
        a_gem,
        absorb,
        align_guard,
        avert,
        block,
        caft,
        dft,
        discount,
        ewc,
        first_tokens,
        glad,
        grasp,
        hold,
        hold_prefix,
        inoculate,
        interleave,
        keep_inputs,
        l2_sp,
        ldifs,
        leace,
        lisa,
        o_lora,
        orthogonal_gradients,
        orthogonal_updates,
        project_gradient,
        rank_one_ewc,
        rehearse,
        steer_away,
    )  # fmt: skip

__all__ = [
    "Adapter", "Edit", "Factor", "GuardCallback", "OwnText", "Report", "Site", "Subspace", "a_gem", "absorb", "align_guard", "apply",
    "attach", "audit", "avert", "block", "caft", "calibrate", "certify", "clean", "compare", "demo", "dft", "discount", "ewc", "fetch",
    "first_tokens", "fit", "glad", "grasp", "guarded", "hold", "hold_prefix", "inoculate", "interleave", "keep_inputs", "l2_sp", "ldifs",
    "leace", "lisa", "o_lora", "orthogonal_gradients", "orthogonal_updates", "project_gradient", "prove", "rank_one_ewc", "rehearse",
    "steer_away", "table", "train", "verify",
]  # fmt: skip

_ROOMS = (
    "core", "find", "flows", "guard", "judge", "latent", "measure", "merge", "report", "solve", "steer", "unlearn", "worlds",
)  # fmt: skip
_PLACES = {
    "despur.core": ("Adapter", "Edit", "Factor", "Report", "Site", "Subspace", "attach"),
    "despur.core.run.callback": ("GuardCallback", "guarded"),
    "despur.flows": (
        "apply", "audit", "calibrate", "certify", "clean", "compare", "demo", "fetch", "fit", "prove", "table", "train", "verify",
    ),
}  # fmt: skip
_WHERE = {
    **dict.fromkeys(__all__, "despur.guard"),  # what is in none of the places below
    **{name: place for place, names in _PLACES.items() for name in names},
    **{room: f"despur.{room}" for room in _ROOMS},
}


def __getattr__(name: str) -> _Any:  # torch takes seconds to import: only who asks for it pays
    if name not in _WHERE:
        raise AttributeError(f"module 'despur' has no attribute {name!r}")
    module = _import_module(_WHERE[name])
    return module if module.__name__ == f"despur.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])
