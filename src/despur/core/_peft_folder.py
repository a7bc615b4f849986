"""What PEFT's `save_pretrained` wrote, taken apart; anything that is not a plain LoRA update is refused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from despur.core._lowrank import LowRank
from despur.core._store import DONE, read_json
from despur.core.errors import BadInput

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_LORA = re.compile(r"base_model\.model\.(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")
_COPY = re.compile(r"base_model\.model\.(?!.*lora_)(.+?)(?:\.base_layer)?\.weight")
# what LoraConfig may say without the update ceasing to be scale * B @ A
_PLAIN = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_core",
    "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "target_modules",
    "task_type", "use_rslora",
}  # fmt: skip


class Parts(NamedTuple):
    """An adapter folder, taken apart.

    Args:
        updates: Base-model module name to its update.
        copies: Base-model module name to the copy of the base's own weight that PEFT saved beside it (embeddings).
        config: What `adapter_config.json` says.
        record: What `despur.json` says, empty where there is none.
    """

    updates: dict[str, LowRank]
    copies: dict[str, Tensor]
    config: dict[str, Any]
    record: dict[str, Any]


def read_folder(folder: Path) -> Parts:
    """Read and check an adapter folder; see `Adapter.read` for what is refused."""
    if not (folder / CONFIG).exists():
        raise BadInput(
            f"no {CONFIG} in {str(folder)!r}{_elsewhere(folder)}. Give the folder that PEFT's save_pretrained wrote"
        )
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise BadInput(
            f"{str(folder / CONFIG)!r} holds {_shown(config)}, no JSON object. Save the adapter again with PEFT"
        )
    check_plain(config, repr(str(folder / CONFIG)))
    updates, copies = _sort(_read_tensors(folder), config, folder)
    record = read_json(folder / DONE) if (folder / DONE).exists() else {}
    return Parts(updates, copies, config, record if isinstance(record, dict) else {})


def check_plain(config: Mapping[str, Any], where: str) -> None:
    """Refuse every kind of adapter whose change is more than `scale * B @ A` on the base's own weights.

    Raises:
        BadInput: another kind of adapter, or an option that is not handled yet.
    """
    kind = config.get("peft_type")
    if kind != "LORA":
        raise BadInput(f"{where} is of peft_type={_shown(kind)}; only 'LORA' is read so far. Train a LoRA adapter")
    init = config.get("init_lora_weights", True)
    if init not in (True, False, "gaussian", "orthogonal", "eva"):
        raise BadInput(
            f"{where} has init_lora_weights={_shown(init)}, which changes the base's weights as well. Convert it to "
            "plain LoRA: save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )
    for key, value in config.items():
        if value and key not in _PLAIN and not (key == "bias" and value == "none"):
            raise BadInput(
                f"{where} has {key}={_shown(value)}, which is not handled yet: its change would go unseen. "
                f"Train a plain LoRA adapter without {key}"
            )


def _elsewhere(folder: Path) -> str:
    inside = sorted(str(f.parent) for f in folder.glob(f"*/{CONFIG}"))
    if inside:
        return f"; it holds the adapters {', '.join(map(repr, inside))}"
    return "; it holds a whole model" if (folder / "config.json").exists() else ""


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.exists():
        pickled = sorted(str(f) for f in folder.iterdir() if f.suffix in _PICKLED and f.name != "training_args.bin")
        if pickled:
            convert = f's.save_file(torch.load("{pickled[0]}", weights_only=True), "{path}")'
            raise BadInput(
                f"{pickled[0]!r} is pickled, and loading a pickle can run code. Where you trust it, convert it: "
                f"python -c 'import torch, safetensors.torch as s; {convert}'"
            )
        raise BadInput(f"no {WEIGHTS} in {str(folder)!r}: the folder is not whole. Copy or save the adapter again")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator of its own)
    except (OSError, SafetensorError, ValueError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {error}. Copy or save the adapter again") from error
    if not tensors:
        raise BadInput(f"{str(path)!r} holds no tensors. Save the adapter again")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise BadInput(f"{name!r} in {str(path)!r} holds NaN or Inf: the training run diverged. Train it again")
    return tensors


def _sort(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path
) -> tuple[dict[str, LowRank], dict[str, Tensor]]:
    path = repr(str(folder / WEIGHTS))
    factors: dict[str, dict[str, Tensor]] = {}
    copies: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if match := _LORA.fullmatch(name):
            if tensor.ndim != 2 or 0 in tensor.shape:
                raise BadInput(
                    f"{name!r} in {path} has shape {tuple(tensor.shape)}, where a matrix is needed: another kind of "
                    "layer, or shards that were not gathered. Save the whole adapter of linear maps"
                )
            factors.setdefault(match[1], {})[match[2]] = tensor
        elif match := _COPY.fullmatch(name):
            copies[match[1]] = tensor
        else:
            raise BadInput(
                f"{name!r} in {path} is no LoRA matrix: its change would go unseen. Train a plain LoRA adapter"
            )
    updates: dict[str, LowRank] = {}
    for module, pair in sorted(factors.items()):
        if len(pair) < 2:
            have, lack = ("A", "B") if "A" in pair else ("B", "A")
            raise BadInput(f"{module!r} in {path} has lora_{have} but no lora_{lack}. Copy or save the adapter again")
        down, up = pair["A"], pair["B"]
        rank, scale = _rank_and_scale(module, config, folder)
        if not down.shape[0] == up.shape[1] == rank:
            raise BadInput(
                f"{module!r} in {path} has lora_A {tuple(down.shape)} and lora_B {tuple(up.shape)}, where {CONFIG} "
                f"says rank {rank}. Copy or save the adapter again"
            )
        updates[module] = LowRank(down, up, scale)
    if not updates:
        raise BadInput(f"{path} holds no LoRA matrices. Save the adapter again")
    return updates, copies


def _rank_and_scale(module: str, config: Mapping[str, Any], folder: Path) -> tuple[int, float]:
    from peft.utils.other import get_pattern_key  # PEFT's own matching of patterns, so that both agree

    def said(pattern: str, default: str) -> float:
        patterns = config.get(pattern) or {}
        value = config.get(default)
        try:
            value = patterns.get(get_pattern_key(list(patterns), module), value)
        except (AttributeError, TypeError, re.error):
            value = patterns
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise BadInput(
                f"{str(folder / CONFIG)!r} has {default}={_shown(value)} for {module!r}, where a positive number is "
                "needed. Save the adapter again with PEFT"
            )
        return float(value)

    rank, alpha = said("rank_pattern", "r"), said("alpha_pattern", "lora_alpha")
    return int(rank), alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
