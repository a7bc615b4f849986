"""Run a `run.json` again."""

from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows.progress import Progress, silent
from despur.flows.verb import Out, call_arguments, verb
from despur.flows.verbs import RECORDED, find_verb


@verb
def replay(record: Path | str, *, out: Out, progress: Progress = silent) -> Any:
    """Run a `run.json` again, into a new folder.

    Args:
        record: A `run.json` that despur wrote.
        out: Where the new run goes: a folder, or the file of `calibrate`.
        progress: Called as the verb that is run calls it.

    Returns:
        What the verb returns.

    Raises:
        BadInput: no record that despur wrote, or one with arguments that this version does not take.

    Example:
        $ despur run run/run.json -o again/
        >>> # replay("run/run.json", out="again/")
    """
    saved = read_json(Path(record))
    if not isinstance(saved, dict) or not isinstance(saved.get("arguments"), dict):
        raise BadInput(f"{str(record)!r} records no run. Give a run.json that despur wrote")
    if saved.get("verb") not in RECORDED:
        raise BadInput(f"{str(record)!r} records verb {saved.get('verb')!r}; there are {', '.join(RECORDED)}")
    function = find_verb(str(saved["verb"]))
    return function(
        **call_arguments(function, {**saved["arguments"], "out": out}, repr(str(record))), progress=progress
    )
