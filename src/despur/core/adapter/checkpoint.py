"""A whole fine-tune, given as a second model folder: its tensors compared with the base's, one at a time."""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.adapter.model_folder import open_state
from despur.core.adapter.peft_config import read_config, reason, short_repr
from despur.core.adapter.tensor_file import check_tensor
from despur.core.errors import BadInput, ShapeMismatch, nearest

_OTHER = "it was tuned from another base. Give the base that it was tuned from"
# what may differ in a configuration without the model computing anything else
_HARMLESS = {
    "_commit_hash", "_name_or_path", "architectures", "attention_dropout", "attn_pdrop", "auto_map", "bos_token_id",
    "chunk_size_feed_forward", "dropout", "dtype", "embd_pdrop", "eos_token_id", "hidden_dropout", "id2label",
    "initializer_range", "is_decoder", "label2id", "max_position_embeddings", "output_attentions", "output_hidden_states",
    "pad_token_id", "pretraining_tp", "problem_type", "resid_pdrop", "return_dict", "tie_word_embeddings", "torch_dtype",
    "transformers_version", "use_cache", "vocab_size",
}  # fmt: skip


def check_configuration(base: Any, folder: Path) -> dict[str, Any]:
    """Check that a model folder is of the base's architecture, and give its configuration.

    Raises:
        BadInput: no readable configuration, or quantised weights.
        ShapeMismatch: another architecture, or one that computes something else with the same weights.
    """
    where = repr(str(folder / "config.json"))
    config_json = read_config(folder / "config.json")
    if config_json.get("quantization_config"):
        raise BadInput(
            f"{where} has a quantization_config, and quantised weights cannot be compared. Give the unquantised model"
        )
    ours = base.config.to_dict()
    if config_json.get("model_type") != ours.get("model_type"):
        raise ShapeMismatch(
            f"{where} has model_type={short_repr(config_json.get('model_type'))}, this base {short_repr(ours.get('model_type'))}: {_OTHER}"
        )
    try:
        theirs = type(base.config).from_dict(config_json).to_dict()
        pairs = {key: (_plain(theirs.get(key)), _plain(value)) for key, value in ours.items() if key not in _HARMLESS}
    except Exception as error:  # whatever a configuration class makes of values that it does not expect
        raise BadInput(f"{where} is refused by transformers: {reason(error)}. Save the model again") from error
    for key, (his, our) in pairs.items():
        if his != our:
            raise ShapeMismatch(f"{where} has {key}={short_repr(his)}, this base {short_repr(our)}: {_OTHER}")
    return config_json


def differing(base: Any, folder: Path, config_json: Mapping[str, Any]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each tensor of a model folder that differs from the base's: name, value before, value after, in the base's dtype.

    Tensors are read one by one from the safetensors files. Where an architecture keeps them in another form than its
    files do (experts that are stacked on loading), the whole model is loaded by transformers first. A tensor that
    only lost digits, since it is stored in a shorter float than the base's, counts as unchanged.

    Args:
        base: The base model.
        folder: The other model's folder, of the same configuration.
        config_json: The contents of its `config.json`.

    Raises:
        BadInput: files that are missing, damaged or not finite.
        ShapeMismatch: a tensor that is missing, too many, or of another shape.
    """
    state: dict[str, Tensor] = base.state_dict()
    with open_state(folder) as stored:
        names = _names(base, state, stored, config_json)
        second = stored if names is not None else _loaded(base, folder, config_json)
        for name, before in state.items():
            after = second[name if names is None else names[name]]
            if tuple(after.shape) != tuple(before.shape):
                raise ShapeMismatch(
                    f"{name!r} in {str(folder)!r} has shape {tuple(after.shape)}, this base has {tuple(before.shape)}: "
                    "its vocabulary was resized, or " + _OTHER
                )
            if not before.dtype.is_floating_point:
                if not torch.equal(before.cpu(), after.cpu()):
                    yield name, before, after.to(before.device, before.dtype)
                continue
            check_tensor(name, after, folder)
            short = after.element_size() < before.element_size()
            if not torch.equal(before.to("cpu", after.dtype) if short else before.cpu(), _as(after, before, short)):
                yield name, before, after.to(before.device, before.dtype)


def _as(after: Tensor, before: Tensor, short: bool) -> Tensor:
    return after.cpu() if short else after.to("cpu", before.dtype)


def _names(
    base: Any, state: Mapping[str, Tensor], files: Iterable[str], config_json: Mapping[str, Any]
) -> dict[str, str] | None:
    """Base tensor name to its name in the files, tied ones under the name of the one stored; None where they do not fit."""
    stem = f"{base.base_model_prefix}."
    names: dict[str, str] = {}
    rest: list[str] = []
    for there in files:
        name = next((n for n in (there, stem + there, there.removeprefix(stem)) if n in state), None)
        if name is None:
            rest.append(there)
        else:
            names[name] = there
    sources: dict[int, str] = {id(t): name for name, t in _parameters(base).items() if name in names}
    ties = getattr(base, "_tied_weights_keys", None)
    ties = (
        ties
        if isinstance(ties, dict) and config_json.get("tie_word_embeddings", base.config.tie_word_embeddings)
        else {}
    )
    for name, tensor in _parameters(base).items():
        if name not in names:
            tied = sources.get(id(tensor)) or ties.get(name)
            if tied in names:
                names[name] = names[tied]
    ignored = [*(getattr(base, "_keys_to_ignore_on_load_unexpected", None) or ()), r"rotary_emb\.inv_freq$"]
    passing = {name for name, _ in base.named_buffers()} - set(state)
    extra = [n for n in rest if not {n, stem + n} & passing and not any(re.search(i, n) for i in ignored)]
    return None if extra or set(state) - set(names) else names


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters(remove_duplicate=False))


def _loaded(base: Any, folder: Path, config_json: Mapping[str, Any]) -> dict[str, Tensor]:
    from transformers.utils import logging

    from despur.core.model.quiet import quiet_loading

    config = copy.deepcopy(base.config)  # the two agree, and the sizes in this one can be trusted
    config.tie_word_embeddings = bool(config_json.get("tie_word_embeddings", config.tie_word_embeddings))
    was = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with quiet_loading():
            model, loading = type(base).from_pretrained(
                str(folder),
                config=config,
                dtype=base.dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises a dozen kinds here, all of them about this folder
        raise BadInput(f"cannot load {str(folder)!r}: {reason(error)}. Copy or save the model again") from error
    finally:
        logging.set_verbosity(was)
    state: dict[str, Tensor] = model.state_dict()
    for what, names in (("lacks", loading["missing_keys"]), ("has", loading["unexpected_keys"])):
        if names:
            name = min(names)
            have = f"which this base does not have{nearest(name, state)}" if what == "has" else "which this base has"
            raise ShapeMismatch(f"{str(folder)!r} {what} the tensor {name!r}, {have}: {_OTHER}")
    return state


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
