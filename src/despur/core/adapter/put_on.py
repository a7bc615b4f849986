"""Adapters of any kind that PEFT can merge, put on their base as PEFT does it, with every tensor of the file accounted for."""

import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from despur.core.adapter.patterns import check_patterns
from despur.core.adapter.peft_config import CONFIG, reason
from despur.core.adapter.peft_folder import WEIGHTS, Opened
from despur.core.adapter.peft_merge import NAME
from despur.core.adapter.put_on_config import PREFIX, check_task, peft_config
from despur.core.errors import BadInput
from despur.core.model.base_modules import base_modules, unwrapped
from despur.core.model.states import bare

_TWO_FILES = (
    "The two files are of two adapters, or the base is another: copy or save the adapter again, give its own base"
)


class PutOn(NamedTuple):
    """An adapter on its base.

    Args:
        model: PeftModel in eval mode.
        own: What the file has for the base's own tensors, by their base-model names: PEFT would write these over the base for
            good, so they are left out of the model.
        converted: Names of tensors in the file that PEFT gave another form on loading (experts that are stacked now, 8-bit indices).
    """

    model: Any
    own: dict[str, Tensor]
    converted: list[str]


def put_on(base: nn.Module, opened: Opened, name: str = NAME) -> PutOn:
    """Put an adapter on its base, or beside the adapters that a PEFT model has.

    Args:
        base: The base model, or a PeftModel, which then has one more adapter, not switched on.
        opened: The adapter's folder.
        name: Of the adapter in the model.

    Raises:
        BadInput: PEFT cannot make this adapter on this base, or the two files name different modules.
    """
    from peft import PeftModel
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
    from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict

    where, path = repr(str(opened.folder / CONFIG)), repr(str(opened.folder / WEIGHTS))
    check_task(opened, base, where)
    check_patterns(opened.config, base_modules(base), where)
    config = peft_config(opened, where)
    devices = {p.device.index or 0 for p in base.parameters() if p.device.type == "cuda"}
    file = _renamed(opened.tensors, bare(base))
    try:
        with torch.random.fork_rng(sorted(devices)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(base, PeftModel):
                model: Any = base
                model.add_adapter(name, config)
            else:
                model = PeftModel(base, config, name)
            expected = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
            tensors, own = _sorted(file, set(expected), model)
            loaded = set_peft_model_state_dict(model, tensors, adapter_name=name)
    except KeyError as error:
        raise BadInput(f"{path} lacks {reason(error)}, which {CONFIG} asks for. {_TWO_FILES}") from error
    except Exception as error:  # PEFT raises a dozen kinds, all of them about these two files and this base
        raise BadInput(
            f"PEFT cannot put {str(opened.folder)!r} on this base: {reason(error)}. Check the folder and the base"
        ) from error
    if loaded.unexpected_keys:
        raise BadInput(
            f"{path} contains {loaded.unexpected_keys[0]!r}, which {CONFIG} does not name on this base: PEFT would "
            f"leave it out. {_TWO_FILES}"
        )
    stems = (PEFT_TYPE_TO_PREFIX_MAPPING.get(config.peft_type) or name, "modules_to_save", "trainable_tokens")
    missing = [k for k in loaded.missing_keys if name in k.split(".") and any(s in k for s in stems)]
    if missing := _not_shared(missing, loaded.missing_keys, model):
        raise BadInput(
            f"{path} lacks {missing[0].replace(f'.{name}', '')!r}, which {CONFIG} asks for on this base. {_TWO_FILES}"
        )
    converted = _accounted(tensors, model, name, path)
    if not isinstance(base, PeftModel):
        model.eval()
    return PutOn(model, own, converted)


def _renamed(tensors: Mapping[str, Tensor], base: Any) -> Mapping[str, Tensor]:
    """Tensors under the names of today's architecture, as `PeftModel.from_pretrained` gives them."""
    table: dict[str, str] = getattr(base, "_checkpoint_conversion_mapping", None) or {}
    if not table:
        return tensors
    out: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        bare = key.removeprefix(PREFIX)
        new = next((n for old, to in table.items() for n, times in [re.subn(old, to, bare)] if times), bare)
        out[key.removesuffix(bare) + new] = tensor
    return out


def _not_shared(missing: list[str], every: Collection[str], model: nn.Module) -> list[str]:
    """Those that are no second name of a tensor which the file does have: tied ends, vector banks."""
    if not missing:
        return []
    state, absent = model.state_dict(), set(every)
    there = {_place(t) for n, t in state.items() if n not in absent}
    return [n for n in missing if n not in state or _place(state[n]) not in there]


def _place(tensor: Tensor) -> Any:
    return (tensor.device, tensor.data_ptr()) if tensor.numel() and not tensor.is_meta else id(tensor)


@torch.no_grad()
def _accounted(tensors: Mapping[str, Tensor], model: nn.Module, name: str, path: str) -> list[str]:
    """Check that the model has what the file has.

    Returns:
        Names that the model does not have, whose tensors PEFT converted.

    Raises:
        BadInput: a tensor that is not in the model as the file has it, since the file has another one for the same place.
    """
    state = model.state_dict()
    places: dict[str, str] = {}
    for key in state:
        if f".{name}" in key:
            places[key.replace(f".modules_to_save.{name}.", ".").replace(f".{name}", "")] = key
            places[key] = key
    converted: list[str] = []
    for key, tensor in tensors.items():
        there = places.get(key)
        if there is None:
            converted.append(key)
        elif not torch.equal(state[there], tensor.to(state[there].device, state[there].dtype)):
            raise BadInput(
                f"{key!r} in {path} is not what PEFT makes of the file: it has two tensors for one place. Save the adapter again"
            )
    return converted


def _sorted(
    tensors: Mapping[str, Tensor], expected: set[str], model: nn.Module
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The adapter's tensors, and those that PEFT would write over the base's own."""
    inside = {key.removeprefix(PREFIX) for key in model.state_dict()}
    modules = base_modules(model)
    theirs: dict[str, Tensor] = {}
    own: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(PREFIX).replace(".base_layer.", ".")
        owner, _, leaf = name.rpartition(".")
        base_tensor = owner in modules and leaf in dict(unwrapped(modules[owner]).named_parameters(recurse=False))
        if base_tensor and (key not in expected or key.removeprefix(PREFIX) in inside):
            own[name] = tensor
        else:
            theirs[key] = tensor
    return theirs, own
