"""What of a configuration is beyond plain LoRA."""

from collections.abc import Mapping
from typing import Any

from despur.core.adapter.peft_config import MERGED, PLAIN_INITS, check_config, short_repr
from despur.core.errors import BadInput


def beyond_plain(config: Mapping[str, Any], *, experts: bool = False) -> str | None:
    """Name what in a configuration makes the change more than `scale * B @ A` on the base's own weights; None if nothing.

    Args:
        config: The contents of `adapter_config.json`.
        experts: Whether LoRA on parameters is plain, too, as it is where the base is at hand that has them.
    """
    if config.get("peft_type") != "LORA":
        return f"peft_type={short_repr(config.get('peft_type'))}"
    for key, value in config.items():
        if key == "init_lora_weights" and value not in PLAIN_INITS:
            return f"{key}={short_repr(value)}"
        if experts and key == "target_parameters":
            continue
        if key in MERGED and value and not (key == "bias" and value == "none"):
            return f"{key}={short_repr(value)}"
    return None


def check_plain(config: Mapping[str, Any], where: str, *, experts: bool = False) -> None:
    """Refuse what `check_config` refuses, and what cannot be computed without the base's weights.

    Raises:
        BadInput: see above.
    """
    check_config(config, where)
    if setting := beyond_plain(config, experts=experts):
        raise BadInput(
            f"{where} has {setting}, so its change cannot be computed without its base. Read both with "
            "load_tuned(base, folder), as `despur audit BASE ADAPTER` does"
        )
