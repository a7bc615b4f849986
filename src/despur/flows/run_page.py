"""The page of a run: its blocks, the facts of its record, and the command that makes it again."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from despur.flows.option import Parameter
from despur.flows.record import page_facts
from despur.flows.verb import parameters_of
from despur.flows.verbs import VERBS, find_verb
from despur.report import Block, write_page

AGAIN = "again/"


def write_run_page(
    path: Path, record: Mapping[str, Any], *, title: str, subtitle: str, blocks: Sequence[Block]
) -> None:
    """Write a run's page, and its JSON beside it.

    Args:
        path: The page.
        record: What `run_record` gave, and further facts.
        title: Title of the page.
        subtitle: Below it.
        blocks: The page from top to bottom.

    Raises:
        BadInput: a file cannot be written.
    """
    write_page(
        path, title=title, subtitle=subtitle, blocks=blocks, facts=page_facts(record), command=shell_command(record)
    )


def shell_command(record: Mapping[str, Any]) -> str:
    """The command line behind a record, without options that have their default; "" where the record names no verb that there is.

    Example:
        >>> shell_command({"verb": "prove", "arguments": {"name": "caft", "all": False, "whole": True, "seed": 0}})
        'despur prove caft --whole -o again/'
    """
    verb, arguments = record.get("verb"), record.get("arguments")
    if not isinstance(verb, str) or verb not in VERBS or not isinstance(arguments, Mapping):  # a file that was edited
        return ""
    words = ["despur", *verb.split()]
    options: list[str] = []
    for p in parameters_of(find_verb(verb)):
        value = arguments.get(p.name)
        if value is None or (value == _as_recorded(p.default) and not p.positional):
            continue
        if p.positional:
            words += list(map(str, value)) if p.option.rest else [_text(value)]
        elif p.kind is bool:
            options += [f"--{_long(p)}"] if value else []
        else:
            options += [f"--{_long(p)}", _text(value)]
    return shlex.join([*words, *options, "-o", AGAIN])


def _long(p: Parameter) -> str:
    return p.name.rstrip("_").replace("_", "-")


def _as_recorded(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
