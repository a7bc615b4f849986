"""What PEFT's `save_pretrained` wrote: opened with checks, and split into updates where it is plain LoRA."""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from despur.core.adapter.expert_lora import ExpertLora
from despur.core.adapter.foreign import left_by, wrapped_names
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.patterns import check_patterns
from despur.core.adapter.peft_config import CONFIG, check_config, rank_and_scale, read_config
from despur.core.adapter.tensor_file import FLOATS, WEIGHTS, read_tensors, there
from despur.core.disk.new_folder import DONE
from despur.core.errors import BadInput

_LORA = re.compile(r"base_model\.model\.(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")
_COPY = re.compile(r"base_model\.model\.(?!.*lora_)(.+?)(?:\.base_layer)?\.weight")


class Opened(NamedTuple):
    """An adapter folder, read but not yet interpreted.

    Args:
        folder: Where.
        config: The contents of `adapter_config.json`.
        tensors: The contents of `adapter_model.safetensors`, all finite.
        record: The contents of `despur.json`, empty where there is none.
    """

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    record: dict[str, Any]


def open_folder(folder: Path) -> Opened:
    """Read an adapter folder of any kind that can be read; see `Adapter.read` for what is refused."""
    if not there(folder / CONFIG):
        raise BadInput(
            f"no {CONFIG} in {str(folder)!r}{left_by(folder) or _elsewhere(folder)}. Give the folder that PEFT's save_pretrained wrote"
        )
    config = read_config(folder / CONFIG)
    check_config(config, repr(str(folder / CONFIG)))
    tensors = read_tensors(folder)
    if why := wrapped_names(tensors):
        raise BadInput(f"the names of the tensors in {str(folder / WEIGHTS)!r} {why}")
    check_patterns(config, {_module_of(name) for name in tensors}, repr(str(folder / CONFIG)))
    try:
        record = read_config(folder / DONE) if there(folder / DONE) else {}
    except BadInput:
        record = {}
    return Opened(folder, config, tensors, record)


def plain_parts(
    opened: Opened, experts: Mapping[str, ExpertLora] = MappingProxyType({})
) -> tuple[dict[str, LowRank], dict[str, Tensor]]:
    """Take a plain LoRA adapter apart.

    Args:
        opened: Its folder.
        experts: LoRA on stacked experts, by its path in the file.

    Returns:
        Base-model module name to its update, and to the copy of the base's own weight that PEFT saved beside it.

    Raises:
        BadInput: a tensor that is neither, factors without their partner or of another rank than the
            configuration says, modules that it does not name, or all of one side zero.
    """
    path = repr(str(opened.folder / WEIGHTS))
    factors: dict[str, dict[str, Tensor]] = {}
    copies: dict[str, Tensor] = {}
    for name, tensor in opened.tensors.items():
        if tensor.dtype not in FLOATS:
            raise BadInput(f"{name!r} in {path} is of {tensor.dtype}, where floating point is needed. Save it again")
        if match := _LORA.fullmatch(name):
            if tensor.ndim != 2 or 0 in tensor.shape:
                raise BadInput(
                    f"{name!r} in {path} has shape {tuple(tensor.shape)}, where a matrix is needed: another kind of "
                    "layer, or shards that were not gathered. Save the whole adapter of linear maps"
                )
            if match[2] in factors.setdefault(match[1], {}):
                raise BadInput(f"{match[1]!r} in {path} has two lora_{match[2]}. Save the adapter again")
            factors[match[1]][match[2]] = tensor
        elif match := _COPY.fullmatch(name):
            copies[match[1]] = tensor
        else:
            raise BadInput(
                f"{name!r} in {path} is not a LoRA matrix: its change would be missed. Train a plain LoRA adapter"
            )
    updates: dict[str, LowRank] = {}
    for module, pair in sorted(factors.items()):
        if len(pair) < 2:
            have, lack = ("A", "B") if "A" in pair else ("B", "A")
            raise BadInput(f"{module!r} in {path} has lora_{have} but no lora_{lack}. Copy or save the adapter again")
        down, up = pair["A"], pair["B"]
        lora = experts.get(module)
        rank, scale = rank_and_scale(lora.stack if lora else module, opened.config, repr(str(opened.folder / CONFIG)))
        if lora:
            rank *= lora.form.experts or 1
        if not down.shape[0] == up.shape[1] == rank:
            raise BadInput(
                f"{module!r} in {path} has lora_A {tuple(down.shape)} and lora_B {tuple(up.shape)}, where {CONFIG} "
                f"has rank {rank}. Copy or save the adapter again"
            )
        updates |= lora.updates(down, up, scale) if lora else {module: LowRank(down, up, scale)}
    if not updates:
        raise BadInput(f"{path} contains no LoRA matrices. Save the adapter again")
    _check_named([module for module in factors if module not in experts], opened.config, path)
    _check_trained(updates, str(opened.folder))
    return updates, copies


def lora_pairs(opened: Opened) -> dict[str, dict[str, tuple[str, Tensor]]]:
    """LoRA's matrices by the module that their names give: "A" or "B" to the tensor's name and the tensor."""
    pairs: dict[str, dict[str, tuple[str, Tensor]]] = {}
    for name, tensor in opened.tensors.items():
        if (match := _LORA.fullmatch(name)) and tensor.ndim == 2:
            pairs.setdefault(match[1], {})[match[2]] = (name, tensor)
    return pairs


def _module_of(name: str) -> str:
    return name.removeprefix("base_model.model.").partition(".lora_")[0].removesuffix(".weight")


def is_plain(opened: Opened) -> bool:
    """Whether every tensor is a LoRA matrix or a copy of some base weight."""
    return all(_LORA.fullmatch(name) or _COPY.fullmatch(name) for name in opened.tensors)


def _check_named(updates: Collection[str], config: Mapping[str, Any], path: str) -> None:
    """PEFT leaves out what the configuration does not name, without a word."""
    targets = config.get("target_modules")
    if config.get("ensure_weight_tying"):
        return  # names the embeddings for both ends; putting it on a base shows what it does not name
    for module in updates:
        if isinstance(targets, list):
            named = any(module == part or module.endswith(f".{part}") for part in targets)
        elif isinstance(targets, str) and targets != "all-linear":
            try:
                named = re.fullmatch(targets, module) is not None
            except re.error:
                named = False
        else:
            return
        if not named:
            raise BadInput(
                f"{path} changes {module!r}, which target_modules in {CONFIG} does not name: PEFT would leave it out. "
                "The two files belong to two adapters: copy or save it again"
            )


def _check_trained(updates: Mapping[str, LowRank], folder: str) -> None:
    for letter, factors in (("B", [u.up for u in updates.values()]), ("A", [u.down for u in updates.values()])):
        if not any(factor.float().any() for factor in factors):
            raise BadInput(
                f"every lora_{letter} in {folder!r} is zero: the adapter was never trained, or its training "
                "did not reach it, so it changes nothing. Look at the run's loss and learning rate"
            )


def _elsewhere(folder: Path) -> str:
    try:
        inside, models = (sorted(str(f.parent) for f in folder.glob(f"*/{n}")) for n in (CONFIG, "config.json"))
    except (OSError, ValueError):
        inside, models = [], []
    if inside:
        return f"; it holds the adapters {', '.join(map(repr, inside))}"
    if there(folder / "config.json"):
        return "; it holds a whole model"
    return f"; it holds the models {', '.join(map(repr, models))}" if models else ""


def tune_digest(folder: Path) -> str:
    """Short hash of an adapter's folder, or a model's: of its weights, and of the configuration that says what they do."""
    sha = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix == ".safetensors" or p.name in (CONFIG, "config.json")):
        with path.open("rb") as file:
            sha.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()} ".encode())
    return sha.hexdigest()[:16]
