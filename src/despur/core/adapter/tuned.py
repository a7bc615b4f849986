"""A fine-tune of any form, read beside its base: any mergeable PEFT adapter, or a whole second model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from despur.core.adapter.adapter import OWN_BASE, Adapter, plain_adapter
from despur.core.adapter.checkpoint import check_configuration, differing
from despur.core.adapter.dense import RANK, Changes, low_rank_changes
from despur.core.adapter.peft_config import CONFIG, beyond_plain, read_config, reason
from despur.core.adapter.peft_folder import WEIGHTS, Opened, is_plain, open_folder, there
from despur.core.adapter.peft_merge import changed_by, lora_factors, needs_originals, put_on
from despur.core.disk.new_folder import DONE
from despur.core.errors import BadInput, DespurError, ShapeMismatch
from despur.core.model.base_modules import base_modules
from despur.core.model.fingerprint import base_weights
from despur.core.model.two_states import TwoStates

_NOISE = 1e-7  # relative change below which PEFT's merge moves a tensor by rounding alone


@dataclass(frozen=True)
class Tuned:
    """A fine-tune on its base.

    Args:
        model: The tuned model in eval mode, a PeftModel or a `TwoStates`; inside `model.disable_adapter()` it is the base.
        adapter: How its weights differ from the base's.
        notes: What could not be verified, one sentence each.

    Example:
        >>> # with load_tuned(base, "adapter/").model.disable_adapter(): ...
    """

    model: Any
    adapter: Adapter
    notes: tuple[str, ...] = ()


def load_tuned(base: Any, folder: Path | str, *, name: str | None = None, rank: int = RANK) -> Tuned:
    """Read a fine-tune of a base and put it on.

    A plain LoRA adapter is read exactly and fast. Of any other kind each layer is merged in turn and the change
    factored; of a whole model each tensor is compared. The base is taken over: its layers become the tuned model's.

    Args:
        base: The base model, nothing on top.
        folder: A PEFT adapter folder, or a model folder saved by transformers.
        name: Where the base was loaded from, for messages.
        rank: Largest number of directions of a change that is not of low rank.

    Raises:
        BadInput: no such folder, a damaged one, a kind that cannot be read, or one that changes nothing.
        ShapeMismatch: it does not belong to this base.

    Example:
        >>> # load_tuned(base, "adapter/").adapter.kept
    """
    folder = Path(folder)
    adapts = there(folder / CONFIG)
    if not adapts and there(folder / "config.json"):
        return _whole(base, folder, name, rank)
    if adapts and list(folder.glob("model*.safetensors")):
        raise BadInput(
            f"{str(folder)!r} contains an adapter and a whole model, so it is unclear which of them is meant. "
            f"Give a folder without {CONFIG}, or without the model"
        )
    opened = open_folder(folder)
    plain = beyond_plain(opened.config) is None and is_plain(opened)
    if not plain and _quantised(base):
        raise BadInput(
            f"{str(folder)!r} is not a plain LoRA adapter, and its change cannot be merged into a quantised base. "
            "Give the base in bfloat16 or float32"
        )
    before: Mapping[str, Tensor] = base_weights(base, tied=True)
    notes: list[str] | None = None
    adapter = plain_adapter(opened) if plain else None
    if adapter is not None:
        copies = {f"{n}.weight": copy for n, copy in adapter.copies.items()}
        if not _of_its_own(copies, before, opened):
            notes = adapter.check(base, name)
    if needs_originals(opened.config):
        before = _clones(before)
    model, own = put_on(base, opened)
    if adapter is not None and notes is not None:
        return Tuned(model, adapter, tuple(notes))
    after = _of_its_own(own, before, opened)
    moved = {n: w for n, w in base_weights(model, tied=True).items() if not _same(w, before[n])}
    if after or moved:
        model = TwoStates(model.get_base_model(), {**moved, **after}, before, tuner=model.base_model).eval()
    adapter = _by_layers(model, opened, before, {**moved, **after}, rank)
    return Tuned(model, adapter, tuple(adapter.check(model, name)))


def _by_layers(
    model: Any, opened: Opened, before: Mapping[str, Tensor], moved: Mapping[str, Tensor], rank: int
) -> Adapter:
    exact, biases = lora_factors(model) if opened.config["peft_type"] == "LORA" else ({}, {})
    exact = {n: u for n, u in exact.items() if f"{n}.weight" not in moved}
    seen: set[str] = set()

    def pairs():
        for name, old, new in changed_by(model, before, exact):
            seen.add(name)
            yield name, old, new
        yield from ((n, before[n], new) for n, new in moved.items() if n not in seen)

    try:
        changes = low_rank_changes(pairs(), base_modules(model), rank=rank, noise=_NOISE)
    except DespurError:
        raise
    except Exception as error:  # PEFT's own, about values that no shape reveals
        raise BadInput(f"PEFT cannot merge {str(opened.folder)!r}: {reason(error)}. Save the adapter again") from error
    updates = {**exact, **changes.updates}
    if not changes.others and not biases and not any(u.up.any() and u.down.any() for u in updates.values()):
        raise BadInput(
            f"{str(opened.folder)!r} changes nothing: the adapter was never trained, or its training did not reach it. "
            "Look at the run's loss and learning rate"
        )
    return Adapter(
        updates, opened.config, opened.folder, opened.record, kind=str(opened.config["peft_type"]),
        kept=changes.kept, others={**biases, **changes.others},
    )  # fmt: skip


def _whole(base: Any, folder: Path, name: str | None, rank: int) -> Tuned:
    if _quantised(base):
        raise BadInput(
            f"{str(folder)!r} is a whole model, and its weights cannot be compared with those of a quantised base. "
            "Give the base in bfloat16 or float32"
        )
    config = check_configuration(base, folder)
    after: dict[str, Tensor] = {}
    one: dict[int, tuple[Tensor, Tensor]] = {}  # tied tensors are stored once

    def pairs():
        for key, old, new in differing(base, folder, config):
            first = one.setdefault(old.data_ptr(), (old, new))[1]
            after[key] = new = first if torch.equal(first, new) else new
            yield key, old, new

    changes: Changes = low_rank_changes(pairs(), base_modules(base, shared=True), rank=rank)
    if not after:
        raise BadInput(f"every tensor of {str(folder)!r} is the base's own: nothing was tuned. Give the tuned model")
    record = read_config(folder / DONE) if (folder / DONE).is_file() else {}
    adapter = Adapter(
        changes.updates, folder=folder, record=record, kind="model", kept=changes.kept, others=changes.others
    )
    notes = adapter.check(base, name)
    return Tuned(TwoStates(base, after).eval(), adapter, tuple(notes))


@torch.no_grad()
def _of_its_own(own: Mapping[str, Tensor], before: Mapping[str, Tensor], opened: Opened) -> dict[str, Tensor]:
    """Those of the base tensors in an adapter's file that were trained; tied ones under all of their names."""
    changed: dict[str, Tensor] = {}
    for name, tensor in own.items():
        old = before.get(name)
        if old is None or old.shape != tensor.shape:
            size = None if old is None else tuple(old.shape)
            raise ShapeMismatch(
                f"{str(opened.folder / WEIGHTS)!r} carries its own {name!r} of shape {tuple(tensor.shape)}, this base has "
                f"{size}: its vocabulary was resized, or it was trained on another base. Give the base resized in the same way"
            )
        new = tensor.to(old.device, old.dtype)
        if _same(new, old.detach()) or _rounded(tensor, old):
            continue
        if old.ndim > 1 and float((new.float() - old.float()).norm()) > 0.5 * float(old.float().norm()):
            raise ShapeMismatch(
                f"{str(opened.folder)!r} carries its own {name!r}, whose values are not this base's: {OWN_BASE}"
            )
        changed |= {n: new for n, w in before.items() if w.data_ptr() == old.data_ptr() and n not in own} | {name: new}
    return changed


def _clones(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    one: dict[int, Tensor] = {}
    return {n: one.setdefault(id(w), w.detach().clone()) for n, w in weights.items()}


@torch.no_grad()
def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.data_ptr() == b.data_ptr() and a.shape == b.shape) or torch.equal(a, b)


@torch.no_grad()
def _rounded(tensor: Tensor, old: Tensor) -> bool:
    """Whether a copy is the base's tensor as bfloat16 holds it, whatever it is stored in."""
    short = tensor.to(old.device, torch.bfloat16)
    return torch.equal(short.to(tensor.dtype), tensor.to(old.device)) and torch.equal(short, old.bfloat16())


def _quantised(model: Any) -> bool:
    return getattr(model, "hf_quantizer", None) is not None or bool(getattr(model.config, "quantization_config", None))
