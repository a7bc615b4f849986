"""Run a `run.json` again."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows.progress import Progress, silent
from despur.flows.record import at_home
from despur.flows.verb import Out, call_arguments, parameters_of, verb
from despur.flows.verbs import RECORDED, find_verb

_WORDS = ("trait",)  # arguments that are text, whatever they look like


@verb
def replay(record: Path | str, *, out: Out, trust: bool = False, progress: Progress = silent) -> Any:
    """Run a `run.json` again, into a new folder.

    A record may come from anybody: unless you trust it, it may only name what lies in the working directory, in its own folder
    or in the new one, hub ids, and bases by name.

    Args:
        record: A `run.json` that despur wrote.
        out: Where the new run goes: a folder, or the file of `calibrate`.
        trust: Let it read from other places, too.
        progress: Called as the verb that is run calls it.

    Returns:
        What the verb returns.

    Raises:
        BadInput: no record that despur wrote, one with arguments that this version does not take, or one that names another place.

    Example:
        $ despur run run/run.json -o again/
        >>> # replay("run/run.json", out="again/")
    """
    saved = read_json(Path(record))
    if not isinstance(saved, dict) or not isinstance(saved.get("arguments"), dict):
        raise BadInput(f"{str(record)!r} records no run. Give a run.json that despur wrote")
    if saved.get("verb") not in RECORDED:
        raise BadInput(f"{str(record)!r} records verb {saved.get('verb')!r}; there are {', '.join(RECORDED)}")
    arguments: dict[str, Any] = at_home(saved["arguments"])
    if not trust:
        _check_places(arguments, Path(record), Path(out))
    function = find_verb(str(saved["verb"]))
    _check_types(function, arguments, repr(str(record)))
    return function(**call_arguments(function, {**arguments, "out": out}, repr(str(record))), progress=progress)


def _check_types(function: Any, arguments: Mapping[str, Any], where: str) -> None:
    kinds: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float), bool: (bool,), list: (list,), str: (str,)}
    for p in parameters_of(function):
        value = arguments.get(p.name)
        allowed = (
            *kinds[p.kind],
            *((int, dict) if p.option.read else ()),
            *((list,) if p.option.rest or p.name == "worlds" else ()),
        )
        fits = isinstance(value, allowed) and not (isinstance(value, bool) and p.kind is not bool)
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if value is not None and not (fits and all(isinstance(part, str | int) for part in parts)):
            raise BadInput(
                f"{where} has {p.name} = {str(value)[:60]!r}, where {p.kind.__name__} is needed. Is it as despur wrote it?"
            )
        if value is None and p.default is not MISSING and p.default is not None and p.name in arguments:
            raise BadInput(
                f"{where} has no value of {p.name}, where {p.kind.__name__} is needed. Is it as despur wrote it?"
            )


def _check_places(arguments: Mapping[str, Any], record: Path, out: Path) -> None:
    roots = [folder.resolve() for folder in (Path(), record.parent, out)]
    for name, text in _texts(arguments):
        path = Path(text)
        try:
            there = os.path.lexists(path)
        except ValueError:  # no name that a file can have
            continue
        leads = path.is_absolute() or text.startswith("~") or ".." in path.parts
        if (there or leads) and not any(path.expanduser().resolve().is_relative_to(root) for root in roots):
            raise BadInput(
                f"{str(record)!r} names {name} = {text!r}, which is neither here nor in its own folder. Where you trust who made it, "
                "add --trust"
            )


def _texts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in arguments.items():
        parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else (value,)
        yield from ((str(name), part) for part in parts if isinstance(part, str) and part and name not in _WORDS)
