"""What a verb is given in place of a folder: text that stands for a model in memory, or for an adapter on the hub."""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

from despur.core.errors import BadInput
from despur.flows.option import Parameter

_ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
_BASES = ("base", "worlds")
_WANTED = {
    "base": "a path, a name or a model", "worlds": "a path, names or a model",
    "tune": "a path, a name, a model or rows", "rows": "a path or rows",
}  # fmt: skip
_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


class StandIn(str):
    """Text that verbs take for a folder's, with what it stands for.

    Args:
        text: The text.
        label: What records and pages say in its place.
        model: The model that it stands for; None where the text is a folder.
        tokenizer: The model's.
    """

    label: str
    model: Any
    tokenizer: Any

    def __new__(cls, text: str, label: str = "", model: Any = None, tokenizer: Any = None) -> "StandIn":
        """Make the text."""
        made = super().__new__(cls, text)
        made.label, made.model, made.tokenizer = label or text, model, tokenizer
        return made


def tune_on_hub(name: str) -> str:
    """Get an adapter, or a fine-tuned model, of the hub; any other text is given back as it is.

    Args:
        name: `owner/name`, or `owner/name@revision`.

    Raises:
        BadInput: it is no folder, and the hub does not have it.
    """
    if Path(name).exists() or not _ON_HUB.fullmatch(name):
        return name
    from huggingface_hub import snapshot_download

    from despur.core.adapter.peft_config import reason
    from despur.core.model.quiet import quiet_loading

    repo, _, revision = name.partition("@")
    try:
        with quiet_loading():
            folder = snapshot_download(repo, revision=revision or None, allow_patterns=_FILES)
    except Exception as error:  # the hub's client has a dozen kinds
        raise BadInput(
            f"no folder {name!r}, and the hub does not give it as owner/name: {reason(error)}. Check the name"
        ) from error
    return StandIn(folder, name)


def standing(parameter: Parameter, given: Mapping[str, Any], stack: ExitStack) -> Any:
    """Make text of what was given where a folder might be.

    Args:
        parameter: The argument.
        given: All arguments of the call.
        stack: What is written for the call is removed with it.

    Raises:
        BadInput: it stands for nothing.
    """
    value, tokenizer, stands = given[parameter.name], given.get("tokenizer"), parameter.option.stands
    if value is parameter.default:
        return value
    if isinstance(value, PathLike):
        value = str(value)  # type: ignore[reportUnknownArgumentType]
    if isinstance(value, str) or (stands == "worlds" and _are_names(value)):
        if stands in _BASES and tokenizer is not None and not isinstance(value, StandIn):
            raise BadInput(f"{parameter.name} {value!r} brings its own tokenizer. Leave tokenizer= out")
        return tune_on_hub(value) if stands == "tune" else value
    from despur.flows.in_memory import (
        base_in_memory,
        in_memory,
        rows_in_memory,
        tune_in_memory,
    )  # torch, which takes seconds

    if stands in _BASES and in_memory(value):
        return base_in_memory(value, tokenizer)
    if stands == "tune" and in_memory(value):
        return tune_in_memory(value, stack)
    if stands not in _BASES and (rows := rows_in_memory(value, stack if stands == "tune" else None)) is not None:
        return rows
    raise BadInput(f"{parameter.name} is of type {type(value).__name__}; {_WANTED[stands]} is needed. {parameter.help}")


def _are_names(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(one, str) for one in value)  # type: ignore[reportUnknownVariableType]
