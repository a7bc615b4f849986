"""Write a certificate of an adapter's guard, once its leak is measured to be rounding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from despur.core import Adapter, Anatomy, Edit, Subspace, fingerprint, save_factors, write_json
from despur.core.adapter.adapter import plain_adapter
from despur.core.adapter.peft_config import CONFIG
from despur.core.adapter.peft_folder import is_plain, open_folder
from despur.core.adapter.plain_config import beyond_plain, check_plain
from despur.core.catalogue import methods
from despur.core.errors import BadInput, ShapeMismatch, UnknownName, nearest
from despur.core.model.states import bare
from despur.core.names import canonical
from despur.core.spec import Spec
from despur.core.text.row_files import data_digest
from despur.flows._verify.begun import Begun
from despur.flows._verify.certificate import (
    FILE,
    STRUCTURAL,
    Certificate,
    base_dtype,
    deciding,
    factors_digest,
    guarded_leaks,
    tensors_digest,
)
from despur.flows._verify.model_card import write_section
from despur.flows._verify.promises import not_promised, promise
from despur.flows._verify.text_digests import text_digests
from despur.flows.load import load_base
from despur.flows.record import run_record


def certify(
    adapter: Path | str,
    base: nn.Module | Path | str,
    factors: Edit | Subspace | Sequence[Subspace] = (),
    *,
    guard: str = "grasp",
    side: str = "both",
    strength: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    data: Path | str | None = None,
    roles: Mapping[str, str] | None = None,
    tokenizer: Any = None,
    start: Path | str | None = None,
) -> Certificate:
    """Write `guard.json` next to an adapter, its factors, and a section in its model card; `despur verify` reads it.

    For `grasp` the leak of every guarded module is measured from the weights, and a leak that is more than rounding is
    refused. For all others, which act on what the model says, only digests are written, and a statement that
    nothing can be verified in the weights.

    Args:
        adapter: Folder that PEFT's `save_pretrained` wrote.
        base: The base, in memory (an adapter on top or not) or where it is loaded from.
        factors: The guard itself, which knows its name, options and factors; or the factors that it was given, and then the
            name, side and strength below.
        guard: Its name, of those that `despur ls guard` lists.
        side: The sides that `grasp` was set to guard.
        strength: Its strength; below 1, `grasp` promises nothing of the weights.
        settings: More settings of the run to record.
        data: The training rows, for their digest.
        roles: Roles that were given to `grasp`, if any.
        tokenizer: What made tokens of the rows, for its digest and its chat template's; that in the adapter's folder goes
            first, and a base that is given by name brings its own.
        start: The adapter that the run went on with, whose update is the first part of each module's; what is promised is
            promised of the rest.

    Raises:
        BadInput: the adapter cannot be read, is no plain LoRA (for `grasp`), or leaks; or no factors were given.
        ShapeMismatch: adapter, factors and base do not belong together.
        UnknownName: a guard or a side of that name is not known.

    Example:
        >>> # trainer.save_model("out/")
        >>> # despur.certify("out/", trainer.model, factors, data="rows.jsonl").leak
    """
    made: Spec | None = None
    acting: Any = factors
    if isinstance(factors, Edit):
        made = _spec_of(factors)
        guard, strength = made.name, float(made.options.get("strength", 1.0))
        side, roles = made.options.get("side", side), made.options.get("roles", roles)
        acting = made.given.get("factor", ())
    factors = (acting,) if isinstance(acting, Subspace) else tuple(acting)
    guard = canonical(guard)
    for name, known in ((guard, certified()), (side, ("read", "write", "both"))):
        if name not in known:
            raise UnknownName(
                f"no {'side' if name is side else 'guard'} {name!r}{nearest(name, known)}. There are: {', '.join(known)}"
            )
    folder = Path(adapter)
    model: Any
    model, own = (bare(base), None) if isinstance(base, nn.Module) else load_base(str(base))
    opened = open_folder(folder)
    plain = beyond_plain(opened.config, experts=True) is None and is_plain(opened)
    if plain:
        plain_adapter(opened, model).check(model)
    promised = guard in STRUCTURAL and strength == 1
    leak: dict[str, dict[str, Any]] = {}
    begun = None if start is None else Begun.of(opened, Path(start))
    if promised:
        if not plain:
            check_plain(opened.config, repr(str(folder / CONFIG)))
            raise BadInput(
                f"{str(folder)!r} contains more than LoRA matrices, so its leak cannot be measured. Save plain LoRA"
            )
        leak = _measured_leaks(begun.rest if begun else plain_adapter(opened, model), model, factors, side, roles)
    kind = "structural" if promised else "functional"
    certificate = Certificate(
        guard, {"strength": strength, **({"made": made.to_dict()} if made else {}), **(settings or {})},
        side if promised else None, promise(guard, strength, side, begun is not None),
        not_promised(guard, kind), _described(factors), leak,
        {"weights": tensors_digest(opened.tensors), "config": deciding(opened.config)},
        {"fingerprint": fingerprint(model), "dtype": base_dtype(model)},
        None if data is None else {"name": Path(data).name, "sha256": data_digest(Path(data))}, roles,
        run_record("certify", {})["versions"], text_digests(folder, tokenizer or own),
        begun and begun.record,
    )  # fmt: skip
    if factors:
        try:
            save_factors(factors, folder)
        except (OSError, SafetensorError) as error:
            raise BadInput(
                f"writing the factors into {str(folder)!r} failed: {error}. Free some room, then certify again"
            ) from error
    write_section(folder, certificate)
    write_json(folder / FILE, certificate.to_dict())  # last: everything it refers to exists
    return certificate


def certified() -> tuple[str, ...]:
    """Guards that a certificate can name: all of the catalogue."""
    return tuple(m.name for m in methods().values() if m.room == "guard")


def _spec_of(edit: Edit) -> Spec:
    if edit.spec is None:
        raise BadInput(
            f"the guard {type(edit).__name__} was not made by a method of the catalogue, so its options are unknown. Give its factors, and "
            "name it: guard="
        )
    return edit.spec


def _measured_leaks(
    adapter: Adapter, base: Any, factors: tuple[Subspace, ...], side: str, roles: Mapping[str, str] | None
) -> dict[str, dict[str, Any]]:
    if not factors:
        raise BadInput("no factors were given, so there is no direction to certify. Give those that grasp was given")
    width = Anatomy.of(base).width
    for factor in factors:
        if factor.width != width:
            raise ShapeMismatch(
                f"the factor at {factor.site.module!r} has width d={factor.width}, this base's stream has {width}. "
                "Was it found on another model?"
            )
    leak = guarded_leaks(adapter, base, factors, side, roles)
    if not leak:
        raise BadInput(
            f"no module of the adapter meets a factor (side={side!r}, sites {sorted({f.site.module for f in factors})}). "
            "Give the factors and the side that grasp was given"
        )
    worst = max(leak, key=lambda n: leak[n]["leak"] / leak[n]["allowed"])
    if leak[worst]["leak"] > leak[worst]["allowed"]:
        raise BadInput(
            f"{worst!r} {leak[worst]['side']}s {leak[worst]['leak']:.2g} of its update along the factor, where "
            f"{leak[worst]['allowed']:.1g} is allowed, so nothing is certified. Was it trained with the guard on from start "
            "to end, with these factors?"
        )
    return leak


def _described(factors: tuple[Subspace, ...]) -> dict[str, Any] | None:
    if not factors:
        return None
    return {"file": "factors.safetensors", "digest": factors_digest(factors), "sites": [f.site.module for f in factors],
            "ranks": [f.rank for f in factors]}  # fmt: skip
