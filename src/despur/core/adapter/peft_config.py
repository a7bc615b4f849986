"""`adapter_config.json`, read with limits, and which kinds of adapter can be read at all."""

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from despur.core.adapter.many_names import check_few_names
from despur.core.disk.files import read_json
from despur.core.errors import BadInput

CONFIG = "adapter_config.json"
_LARGEST = 10 * 2**20  # bytes: the largest honest configuration has some kilobytes
_DEEPEST = 64

# what LoraConfig may contain without the update ceasing to be scale * B @ A
_PLAIN = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_core",
    "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "target_modules",
    "task_type", "use_rslora",
}  # fmt: skip
PLAIN_INITS = (True, False, "gaussian", "orthogonal", "eva")
# and what makes it more than that, to be had by merging on the base
_MERGED = {"bias", "lora_bias", "modules_to_save", "target_parameters", "trainable_token_indices", "use_dora"}
REBASING = ("pissa", "olora")  # inits that move the base's own weights, the same way each time
# PEFT's other kinds whose change is one of the weights; a test compares each with PEFT's own forward pass
KINDS = (
    "ADALORA", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "GLORA", "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING", "LOHA",
    "LOKR", "MISS", "OFT", "PEANUT", "PVERA", "RANDLORA", "ROAD", "SHIRA", "TRAINABLE_TOKENS", "VBLORA", "VERA", "WAVEFT",
)  # fmt: skip
_PATTERNS = ("target_modules", "exclude_modules", "layers_pattern", "rank_pattern", "alpha_pattern")
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
    for pattern in _patterns(config):
        if _explodes(pattern):
            raise BadInput(
                f"{where} has the pattern {short_repr(pattern)}, which may take very long to match: it has nested repeats, or "
                "more than six of them. Name the modules in a list"
            )
    if kind != "LORA":
        return
    init = config.get("init_lora_weights", True)
    if init not in (*PLAIN_INITS, *REBASING):
        raise BadInput(
            f"{where} has init_lora_weights={short_repr(init)}, which changes the base's weights in a way that the file does "
            "not tell. Convert it to plain LoRA: save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )
    for key, value in config.items():
        if value and key not in _PLAIN | _MERGED and not (key == "bias" and value == "none"):
            raise BadInput(
                f"{where} has {key}={short_repr(value)}, which is not handled yet: its change would be missed. "
                f"Train a LoRA adapter without {key}"
            )


def beyond_plain(config: Mapping[str, Any]) -> str | None:
    """Name what in a configuration makes the change more than `scale * B @ A` on the base's own weights; None if nothing."""
    if config.get("peft_type") != "LORA":
        return f"peft_type={short_repr(config.get('peft_type'))}"
    for key, value in config.items():
        if key == "init_lora_weights" and value not in PLAIN_INITS:
            return f"{key}={short_repr(value)}"
        if key in _MERGED and value and not (key == "bias" and value == "none"):
            return f"{key}={short_repr(value)}"
    return None


def check_plain(config: Mapping[str, Any], where: str) -> None:
    """Refuse what `check_config` refuses, and what cannot be computed without the base's weights.

    Raises:
        BadInput: see above.
    """
    check_config(config, where)
    if setting := beyond_plain(config):
        raise BadInput(
            f"{where} has {setting}, so its change cannot be computed without its base. Read both with "
            "load_tuned(base, folder), as `despur audit BASE ADAPTER` does"
        )


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


def _patterns(config: Mapping[str, Any]) -> Iterator[str]:
    for key in _PATTERNS:
        value = config.get(key)
        for part in (value,) if isinstance(value, str) else value if isinstance(value, dict | list) else ():
            if isinstance(part, str):
                yield part


def _explodes(pattern: str) -> bool:
    """Whether matching may take exponential time: a repeated group that contains a repeat or a choice."""
    if len(pattern) > 4000:
        return True
    bare = re.sub(r"\[\^?\]?[^\]]*\]|\\.", "x", pattern)
    groups, repeats = [False], 0
    for i, sign in enumerate(bare):
        if sign == "(":
            groups.append(False)
        elif sign == ")" and len(groups) > 1:
            inner = groups.pop()
            if inner and bare[i + 1 : i + 2] in ("*", "+", "{"):
                return True
            groups[-1] |= inner
        elif sign in "*+{|":
            groups[-1] = True
            repeats += sign != "|"
    return repeats > 6
