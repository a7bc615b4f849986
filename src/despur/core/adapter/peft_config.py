"""`adapter_config.json`, read with limits, and which kinds of adapter can be read at all."""

import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from despur.core.adapter.foreign import made_by
from despur.core.adapter.many_names import check_few_names
from despur.core.disk.files import read_json
from despur.core.errors import BadInput

CONFIG = "adapter_config.json"
_LARGEST = 10 * 2**20  # bytes: the largest honest configuration has some kilobytes
_DEEPEST = 64
_PEFT = "0.21"  # whose configurations are listed here
# what LoraConfig may contain without the update ceasing to be scale * B @ A
PLAIN = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_core",
    "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "target_modules",
    "task_type", "use_rslora",
}  # fmt: skip
PLAIN_INITS = (True, False, "gaussian", "orthogonal", "eva")
# and what makes it more than that, to be had by merging on the base
MERGED = {"bias", "lora_bias", "modules_to_save", "target_parameters", "trainable_token_indices", "use_dora"}
REBASING = ("pissa", "olora")  # inits that move the base's own weights, the same way each time
# PEFT's other kinds whose change is one of the weights; a test compares each with PEFT's own forward pass
KINDS = (
    "ADALORA", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "GLORA", "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING", "LOHA",
    "LOKR", "MISS", "OFT", "PEANUT", "PVERA", "RANDLORA", "ROAD", "SHIRA", "TRAINABLE_TOKENS", "VBLORA", "VERA", "WAVEFT",
)  # fmt: skip
# keys that other tools write into the file and that steer the training alone, or say who trained
_TRAINING = (
    "_unsloth", "additional_target", "commit_hash", "create_new_adapter", "galore_", "hub_", "lisa_", "lora_bf16", "lora_dtype",
    "loraplus_", "lorap_", "mlx_", "model_id_or_path", "modelscope_", "swift_", "train_", "tuner_", "unsloth_", "use_unsloth",
)  # fmt: skip
# what PEFT's LoraConfig knows beyond those, and that changes what an adapter computes in a way that is not handled
_UNHANDLED = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "megatron_config", "monteclora_config", "use_bdlora",
    "use_qalora", "velora_config",
)  # fmt: skip
_NAMES = ("target_modules", "exclude_modules", "feedforward_modules", "modules_to_save", "target_parameters")
_FORMS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("r", "lora_alpha", "alpha"), ((int, float), "a number")),
    **dict.fromkeys((*_NAMES, "layers_pattern"), ((str, list), "a name or a list of names")),
    **dict.fromkeys(("rank_pattern", "alpha_pattern"), ((dict,), "a table")),
    **dict.fromkeys(("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias"), ((bool,), "true or false")),
    "bias": ((str,), "'none', 'all' or 'lora_only'"),
}


def read_config(path: Path, *, largest: int = _LARGEST) -> dict[str, Any]:
    """Read a configuration: a regular file of bounded size and depth that contains a JSON object.

    Raises:
        BadInput: missing, not a regular file, too large, too deep, or not a JSON object.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {reason(error)}. Copy or save the folder again") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{str(path)!r} is not a regular file. Copy or save the folder again")
    if status.st_size > largest:
        raise BadInput(
            f"{str(path)!r} has {status.st_size} bytes, where a configuration has at most {largest}. Save it again"
        )
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadInput(f"{str(path)!r} contains {short_repr(value)}, where a JSON object is needed. Save it again")
    if _deep(value):
        raise BadInput(f"{str(path)!r} is nested more than {_DEEPEST} deep. Save it again")
    check_few_names(value, repr(str(path)))
    return value


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Refuse every kind of adapter whose change is not one of the weights, or that is not handled.

    Raises:
        BadInput: another kind of adapter, an option that is not handled, or a pattern that may never end.
    """
    kind = config.get("peft_type")
    if kind is None and (maker := made_by(config)):
        raise BadInput(f"{where} is of {maker}")
    if kind != "LORA" and kind not in KINDS:
        raise BadInput(
            f"{where} is of peft_type={short_repr(kind)}, which is not read: only what can be merged into the weights is. "
            f"Give an adapter of one of these kinds: LORA, {', '.join(KINDS)}"
        )
    for key, (forms, words) in _FORMS.items():
        value = config.get(key)
        fits = isinstance(value, forms) and (bool in forms or not isinstance(value, bool))
        if value is not None and not (fits and (not isinstance(value, list) or all(isinstance(v, str) for v in value))):
            raise BadInput(
                f"{where} has {key}={short_repr(value)}, where {words} is needed. Save the adapter again with PEFT"
            )
    if kind != "LORA":
        return
    init = config.get("init_lora_weights", True)
    if init not in (*PLAIN_INITS, *REBASING):
        raise BadInput(
            f"{where} has init_lora_weights={short_repr(init)}, which changes the base's weights in a way that the file does "
            "not tell. Convert it to plain LoRA: save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )
    for key in _UNHANDLED:
        if config.get(key):
            raise BadInput(
                f"{where} has {key}={short_repr(config[key])}, which changes what the adapter computes and is not handled yet. Where "
                "PEFT can merge it into its base (merge_and_unload), give the merged model's folder"
            )
    for key, value in foreign_keys(config, PLAIN | MERGED | set(_UNHANDLED) | {"runtime_config"}):
        raise unknown_key(key, value, where)


def foreign_keys(config: Mapping[str, Any], known: Iterable[str]) -> list[tuple[str, Any]]:
    """Keys with a value that a kind's configuration does not know and that may change what the adapter computes."""
    fields = set(known)
    return [(k, v) for k, v in config.items() if k not in fields and v and not _of_training(k)]


def unknown_key(key: str, value: Any, where: str) -> BadInput:
    """The error for a key that nobody here knows."""
    return BadInput(
        f"{where} has {short_repr(key)[1:-1]}={short_repr(value)}, a key that PEFT's configurations up to version {_PEFT} do not "
        "have and would ignore: a newer PEFT may compute something with it. Install the version that saved it (peft_version in that "
        "file), or take the key out of the file where you know that it steers the training alone"
    )


def training_notes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """One sentence about keys that steered the training alone and were left out of account."""
    keys = sorted(k for k, v in config.items() if v and _of_training(k))[:8]
    if not keys:
        return ()
    named = ", ".join(short_repr(k)[1:-1] for k in keys)
    return (
        f"the adapter's configuration has keys of the tool that trained it, which change nothing that it computes: {named}",
    )


def _of_training(key: str) -> bool:
    return key.startswith(_TRAINING)


def rank_and_scale(module: str, config: Mapping[str, Any], where: str) -> tuple[int, float]:
    """Rank and scale of one module, patterns matched as PEFT does it.

    Raises:
        BadInput: a rank or alpha that is no positive number, or a pattern that is no regular expression.
    """

    def value_for(pattern: str, default: str) -> float:
        value: Any = config.get(default)
        try:
            for key, own in (config.get(pattern) or {}).items():
                if re.match(rf"(.*\.)?({key})$", module):
                    value = own
                    break
        except (AttributeError, TypeError, re.error):
            value = config.get(pattern)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise BadInput(
                f"{where} has {default}={short_repr(value)} for {module!r}, where a positive number is "
                "needed. Save the adapter again with PEFT"
            )
        return float(value)

    rank, alpha = value_for("rank_pattern", "r"), value_for("alpha_pattern", "lora_alpha")
    if rank != int(rank):
        raise BadInput(f"{where} has r={rank} for {module!r}, where a whole number is needed. Save the adapter again")
    return int(rank), alpha / (rank**0.5 if config.get("use_rslora") else rank)


def short_repr(value: Any) -> str:
    """The repr of a value for a message, cut at 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def reason(error: Exception) -> str:
    """The message of another library, as one printable line of bounded length: it may quote the file."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text).rstrip(".")


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            part for v in level if isinstance(v, dict | list) for part in (v.values() if isinstance(v, dict) else v)
        ]
    return bool(level)
