"""How many names an adapter's configuration may list: each is compared, or matched, with every module of a base."""

from collections.abc import Mapping
from typing import Any

from despur.core.errors import BadInput

_MOST = {
    **dict.fromkeys(("rank_pattern", "alpha_pattern"), 2_000),  # each entry is a regular expression of its own
    **dict.fromkeys(
        ("target_modules", "exclude_modules", "layers_pattern", "feedforward_modules", "modules_to_save", "target_parameters"), 20_000
    ),
}  # fmt: skip


def check_few_names(config: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration with more names than any honest one has.

    Args:
        config: The contents of `adapter_config.json`.
        where: The file, for the message.

    Raises:
        BadInput: too many.

    Example:
        >>> check_few_names({"target_modules": ["q_proj", "v_proj"]}, "a file")
    """
    for key, most in _MOST.items():
        value = config.get(key)
        if isinstance(value, list | dict) and len(value) > most:
            raise BadInput(
                f"{where} has {len(value)} entries in {key}, where at most {most} are read: matching them with every module would "
                "take very long. Name the modules by their last part, as in 'q_proj'"
            )
