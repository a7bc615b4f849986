"""A fine-tune of any form, read beside its base: any mergeable PEFT adapter, or a whole second model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from despur.core.adapter.adapter import Adapter, plain_adapter
from despur.core.adapter.by_layers import by_layers
from despur.core.adapter.checkpoint import check_configuration, differing
from despur.core.adapter.converted import check_converted
from despur.core.adapter.dense import RANK, Changes, low_rank_changes
from despur.core.adapter.own_tensors import clones, same, trained_copies
from despur.core.adapter.peft_config import CONFIG, read_config, training_notes
from despur.core.adapter.peft_folder import WEIGHTS, Opened, is_plain, open_folder, there
from despur.core.adapter.peft_merge import needs_originals
from despur.core.adapter.plain_config import beyond_plain
from despur.core.adapter.put_on import PutOn, put_on
from despur.core.adapter.vocabulary import as_many_tokens, fit_vocabulary, vocabulary
from despur.core.disk.new_folder import DONE
from despur.core.errors import BadInput, DespurError
from despur.core.model.anatomy import text_part
from despur.core.model.base_modules import base_modules
from despur.core.model.fingerprint import base_weights, fingerprint
from despur.core.model.states import bare
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
    adapter = plain_adapter(opened) if plain else None
    foreign = adapter is not None and not set(adapter.updates) <= set(base_modules(base, shared=True))
    if (adapter is None or foreign) and _quantised(base):
        raise BadInput(
            f"{str(folder)!r} is not a plain LoRA adapter, and its change cannot be merged into a quantised base. "
            "Give the base in bfloat16 or float32"
        )
    print_ = fingerprint(base) if opened.record else None
    notes = (
        *training_notes(opened.config),
        *fit_vocabulary(base, opened.tensors, opened.config, repr(str(folder / WEIGHTS))),
    )
    before: Mapping[str, Tensor] = base_weights(base, tied=True)
    if adapter is not None and foreign:
        return _renamed(base, opened, adapter, before, name, rank, notes, print_)
    exact = False
    if adapter is not None:
        copies = {f"{n}.weight": copy for n, copy in adapter.copies.items()}
        if not trained_copies(copies, before, opened):
            exact = True
            notes = (*notes, *adapter.check(base, name, known=print_))
    if needs_originals(opened.config):
        before = clones(before)
    put = put_on(base, opened)
    if adapter is not None and exact:
        return Tuned(put.model, adapter, notes)
    return _merged(put, opened, before, name, rank, notes, print_)


def _merged(
    put: PutOn, opened: Opened, before: Mapping[str, Tensor], name: str | None, rank: int, notes: tuple[str, ...],
    known: str | None,
) -> Tuned:  # fmt: skip
    """The tuned model of an adapter whose change is computed by merging its layers."""
    model = put.model
    after = trained_copies(put.own, before, opened)
    moved = {n: w for n, w in base_weights(model, tied=True).items() if not same(w, before[n])}
    if after or moved:
        model = TwoStates(model.get_base_model(), {**moved, **after}, before, tuner=model.base_model).eval()
    adapter, energy = by_layers(model, opened, before, {**moved, **after}, rank, measure=bool(put.converted))
    if put.converted:
        check_converted(put.converted, opened, energy)
    return Tuned(model, adapter, (*notes, *adapter.check(model, name, known=known)))


def _renamed(
    base: Any, opened: Opened, adapter: Adapter, before: Mapping[str, Tensor], name: str | None, rank: int,
    notes: tuple[str, ...], known: str | None,
) -> Tuned:  # fmt: skip
    """A plain adapter of an older architecture's names, where PEFT knows what they are now; else the reason why it does not fit."""
    try:
        put = put_on(base, opened)
    except DespurError as error:
        adapter.check(bare(base), name)
        raise error
    return _merged(put, opened, before, name, rank, notes, known)


def _whole(base: Any, folder: Path, name: str | None, rank: int) -> Tuned:
    if _quantised(base):
        raise BadInput(
            f"{str(folder)!r} is a whole model, and its weights cannot be compared with those of a quantised base. "
            "Give the base in bfloat16 or float32"
        )
    config = check_configuration(base, folder)
    print_ = fingerprint(base)
    size = text_part(type(base.config).from_dict(config)).vocab_size
    notes = () if size == vocabulary(base) else as_many_tokens(base, size)
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
    notes = (*notes, *adapter.check(base, name, known=print_))
    return Tuned(TwoStates(base, after).eval(), adapter, notes)


def _quantised(model: Any) -> bool:
    return getattr(model, "hf_quantizer", None) is not None or bool(getattr(model.config, "quantization_config", None))
