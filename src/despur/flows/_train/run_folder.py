"""A run's folder: the same arguments continue in it, others are refused."""

import os
import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import yaml

from despur.core import read_json, same_base
from despur.core.disk.new_folder import DONE
from despur.core.errors import BadInput
from despur.flows._train.checkpoints import FOLDER as CHECKPOINTS
from despur.flows._train.history import FILE as HISTORY
from despur.flows._train.inputs import CONFIG, KEPT_DATA

ROOM = 16 * 2**20  # bytes: stages of the smallest run
_FREE = ("save_every",)  # changes nothing of what is made
_PATHS = ("base", "data", "scout", "factors", "rehearse_on", "pairs", "roles", "from_")
_PAGES = ("run.json", "report.html", HISTORY)
_FACTS = {
    "data": "the content of the data",
    "from": "the adapter that it goes on with",
    "base_fingerprint": "the weights of the base",
}


def check_place(out: Path) -> None:
    """Refuse a place where no run can be, before anything is loaded.

    Raises:
        BadInput: a file, or a folder whose checkpoints are a link: they would be read and removed elsewhere.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{str(out)!r} is a file, where the folder of a run is needed. Choose another -o")
    kept = out / CHECKPOINTS
    for path in (kept, *(kept.glob("*") if kept.is_dir() else ())):
        if path.is_symlink():
            raise BadInput(
                f"{str(path)!r} is a link, and leads out of the run's folder. Remove it, or choose another -o"
            )


def check_folder(out: Path, arguments: Mapping[str, Any], facts: Mapping[str, str], *, overwrite: bool) -> None:
    """Refuse a folder of another run, unless it is to be overwritten: identical stages are then reused.

    Raises:
        BadInput: it contains a run with other arguments, data or base, or something else.
    """
    if overwrite:
        for name in _PAGES:
            (out / name).unlink(missing_ok=True)
        return
    others = sorted(p.name for p in out.glob("*") if p.name not in KEPT_DATA and not p.name.startswith("."))
    if others and not (out / CONFIG).is_file():
        raise BadInput(
            f"{str(out)!r} contains {', '.join(others[:3])}{' and more' * (len(others) > 3)}, and no {CONFIG} of a run to "
            "continue. Choose another -o, or add --overwrite"
        )
    made = [*out.glob(f"*/{DONE}"), *out.glob(f"{CHECKPOINTS}/*/checkpoint-*")]
    differing = _differences(out, arguments, facts) if made else []
    if differing:
        raise BadInput(
            f"{str(out)!r} has a run with other arguments: {'; '.join(differing)}. Continue that one (despur train --resume "
            f"{out}), choose another -o, or add --overwrite"
        )


def sweep(out: Path, used: Set[str]) -> None:
    """Remove the stages that another run left in the folder."""
    for record in out.glob(f"*/{DONE}"):
        if record.parent.name not in used and "spec_digest" in _facts_of(record):
            shutil.rmtree(record.parent, ignore_errors=True)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def read_arguments(out: Path) -> dict[str, Any]:
    """The arguments of the run in a folder.

    Raises:
        BadInput: there is none, or its file is damaged.
    """
    try:
        config: Any = yaml.safe_load((out / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(
            f"{str(out / CONFIG)!r} cannot be read, so the run in it is unknown. Choose another -o, or add --overwrite"
        ) from error
    if not isinstance(config, dict):
        raise BadInput(f"{str(out / CONFIG)!r} has no arguments. Choose another -o, or add --overwrite")
    return {str(k): v for k, v in config.items()}  # type: ignore[reportUnknownArgumentType]


def _differences(out: Path, arguments: Mapping[str, Any], facts: Mapping[str, str]) -> list[str]:
    before = read_arguments(out)
    found = [
        f"{name} was {before[name]!r} and is {now!r} now"
        for name, now in arguments.items()
        if name in before and name not in _FREE and not _same(name, before[name], now)
    ]
    for record in sorted(out.glob(f"*/{DONE}")):
        facts_then = _facts_of(record)
        if (
            "start_fingerprint" in facts_then
        ):  # of the plain base, where all other stages are of what the run starts from
            facts_then["base_fingerprint"] = facts_then["start_fingerprint"]
        changed = [key for key in _FACTS if key in facts and not _agree(facts_then.get(key, facts[key]), facts[key])]
        if "from" in facts_then and "from" not in facts:
            changed.append("from")
        if "from" in changed and "base_fingerprint" in changed:
            changed.remove("base_fingerprint")  # that of what the run starts from
        if changed:
            return [*found, f"{' and '.join(_FACTS[key] for key in changed)} changed since"]
    return found


def _agree(before: Any, now: str) -> bool:
    return isinstance(before, str) and same_base(before, now)


def _facts_of(record: Path) -> dict[str, Any]:
    """What a stage depends on; nothing of one whose record is damaged, which is made again."""
    try:
        facts = read_json(record)
    except BadInput:
        return {}
    return facts if isinstance(facts, dict) else {}


def _same(name: str, before: Any, now: Any) -> bool:
    if name in _PATHS and isinstance(before, str) and isinstance(now, str):
        return os.path.abspath(os.path.expanduser(before)) == os.path.abspath(os.path.expanduser(now))
    return before == now
