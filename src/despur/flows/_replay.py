"""Run a `run.json` again."""

from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows._audit.audit import audit
from despur.flows._clean.clean import clean
from despur.flows._demo.demo import demo
from despur.flows._train.fit import Settings
from despur.flows._train.train import train
from despur.flows.progress import Progress, silent


def replay(path: Path | str, *, out: Path | str, progress: Progress = silent) -> Any:
    """Run what a `run.json` records, into a new folder.

    Raises:
        BadInput: not a record of ours.
    """
    record = read_json(Path(path))
    if not isinstance(record, dict) or not isinstance(record.get("arguments"), dict):
        raise BadInput(f"{str(path)!r} records no run. Give a run.json that despur wrote")
    arguments = dict(record["arguments"])
    verb = record.get("verb")
    try:
        if verb == "demo":
            return demo(out, **arguments, progress=progress)
        if verb == "audit":
            return audit(**arguments, out=out, progress=progress)
        if verb == "clean":
            return clean(**arguments, out=out, progress=progress)
        if verb == "train":
            names = Settings().to_dict()
            settings = Settings(**{k: arguments.pop(k) for k in list(arguments) if k in names})
            return train(**arguments, out=out, settings=settings, progress=progress)
    except TypeError as error:
        raise BadInput(f"{str(path)!r} has arguments that this version does not take: {error}") from error
    raise BadInput(f"{str(path)!r} records verb {verb!r}; there are demo, audit, clean and train")
