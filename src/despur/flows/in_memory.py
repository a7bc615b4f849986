"""Models in memory where verbs take folders: a base shares its weights, a tune is written for as long as the verb runs."""

import copy
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from despur.core.adapter.peft_config import reason
from despur.core.errors import BadInput
from despur.core.model.base_modules import unwrapped
from despur.core.model.quiet import quiet_loading
from despur.core.model.shared_copy import shared_copy
from despur.core.model.states import bare
from despur.core.text.rows import rows_as_lines
from despur.flows.placement import Placement
from despur.flows.stand_in import StandIn


def base_in_memory(model: Any, tokenizer: Any) -> StandIn:
    """Let a model stand for a base: its weights are shared and never changed, its adapters left out.

    Args:
        model: A causal language model of transformers, PEFT around it or not.
        tokenizer: Its tokenizer; read from where the model was loaded if left out.

    Raises:
        BadInput: no tokenizer, or weights that are no longer the base's.
    """
    if tokenizer is None:
        raise BadInput(
            f"the base is a {type(bare(model)).__name__} in memory, without its tokenizer. Give it: tokenizer=tokenizer"
        )
    name, kind = str(getattr(bare(model), "name_or_path", "")), f"{type(bare(model)).__name__} in memory"
    return StandIn(name or kind, f"{name} in memory" if name else kind, _plain_copy(model), tokenizer)


def tune_in_memory(model: Any, stack: ExitStack) -> StandIn:
    """Write a tuned model, of PEFT its adapter alone, where folders are read, until the stack is closed.

    Raises:
        BadInput: it cannot be written.
    """
    from peft import PeftModel

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="despur-", ignore_cleanup_errors=True))
    options: dict[str, Any] = {}
    place = Path(folder)
    if isinstance(model, PeftModel):
        active = model.active_adapters[0]
        options = {"selected_adapters": [active], "save_embedding_layers": False}
        place = place if active == "default" else place / active
    save(model, Path(folder), **options)
    return StandIn(str(place), f"{type(model).__name__} in memory")


def save(thing: Any, folder: Path, **options: Any) -> None:
    """Write a model or a tokenizer into a folder.

    Args:
        thing: What has `save_pretrained`.
        folder: The folder.
        **options: Of that method.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        with quiet_loading():
            thing.save_pretrained(folder, **options)
    except Exception as error:  # whatever this model's own code raises
        raise BadInput(
            f"the {type(thing).__name__} in memory cannot be saved: {reason(error)}. Save it yourself, and give the folder"
        ) from error


def rows_in_memory(value: Any, stack: ExitStack | None) -> StandIn | None:
    """Let rows stand for a file of them.

    Args:
        value: A list of rows, a pandas DataFrame or a `datasets.Dataset`.
        stack: Where given, a file is written that is there until it is closed; else the bytes of one are the stand-in's `model`.

    Returns:
        None for anything else.
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        value = value.to_dict("records")
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
        return None
    rows: list[Any] = list(value)  # type: ignore[reportUnknownArgumentType]
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        return None
    content = rows_as_lines(rows)
    label = f"{len(rows)} rows in memory"
    if stack is None:
        return StandIn("rows.jsonl", label, content)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="despur-", ignore_cleanup_errors=True))
    path = Path(folder) / "rows.jsonl"
    path.write_bytes(content)
    return StandIn(str(path), label)


def loaded_base(base: StandIn, placement: Placement | None) -> Any:
    """The model behind a stand-in, as it is, or a copy of it where another device or precision is asked for.

    Args:
        base: What `base_in_memory` made.
        placement: Device and precision; the model's own where left out, or `auto`.
    """
    model = shared_copy(base.model)
    target = placement.target() if placement else None
    dtype = getattr(torch, placement.dtype) if placement and placement.dtype != "auto" else None
    first = next(model.parameters())
    if (target is None or target == first.device) and dtype in (None, first.dtype):
        return model
    return copy.deepcopy(model).to(device=target, dtype=dtype)


def in_memory(value: Any) -> bool:
    """Whether a value is a model."""
    return isinstance(value, nn.Module)


def _plain_copy(model: Any) -> Any:
    """The base's own modules with its numbers, and nothing of PEFT's."""
    _check_own(model)
    inner = bare(model)
    own = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in inner.parameters() if type(p) is nn.Parameter}
    made: Any = copy.deepcopy(inner, {**{id(b): b for b in inner.buffers()}, **own})
    _unwrap(made)
    for name in ("peft_config", "_hf_peft_config_loaded"):
        made.__dict__.pop(name, None)
    return made.eval()


def _unwrap(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        plain = unwrapped(child)
        if plain is not child:
            setattr(module, name, plain)
        _unwrap(plain)


def _check_own(model: Any) -> None:
    """Refuse a base whose own weights a tune has changed."""
    configs: Any = getattr(model, "peft_config", None) or {}
    biased = any(getattr(c, "bias", "none") not in ("none", None) for c in configs.values())
    if biased or any(getattr(m, "merged", False) is True for m in model.modules()):
        what = "its biases are trained" if biased else "an adapter is merged into it"
        raise BadInput(f"the base in memory is not the base any more: {what}. Load the base again, or give its folder")
