"""What a study saved of its course, read back: which settings were chosen, which runs failed, how it was started."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.judge import Prereg

CHOSEN, FAILED, RECORD = "chosen.json", "failures.json", "run.json"


def read_chosen(out: Path, plan: Prereg) -> dict[str, dict[str, dict[str, Any]]] | None:
    """The chosen settings; None where nothing was chosen yet.

    Raises:
        BadInput: the file is damaged, or of another plan.
    """
    if not (out / CHOSEN).exists():
        return None
    value: Any = read_json(out / CHOSEN)
    if not all(_is_choice(value, world, guard, len(s)) for world in plan.worlds for guard, s in plan.guards.items()):
        raise BadInput(
            f"{str(out / CHOSEN)!r} does not fit the plan, or is damaged. Remove it: the settings are then chosen again"
        )
    return value


def read_failed(out: Path) -> dict[str, str]:
    """Runs that failed, and why.

    Raises:
        BadInput: the file is damaged.
    """
    value: Any = read_json(out / FAILED) if (out / FAILED).exists() else {}
    if not isinstance(value, dict) or not all(isinstance(why, str) for why in value.values()):
        raise BadInput(f"{str(out / FAILED)!r} is damaged. Remove it")
    return value


def read_record(out: Path) -> dict[str, Any] | None:
    """How the study was started; None where that was not recorded.

    Raises:
        BadInput: the file is damaged.
    """
    if not (out / RECORD).exists():
        return None
    value: Any = read_json(out / RECORD)
    if not isinstance(value, dict) or not isinstance(value.get("arguments"), dict):
        raise BadInput(f"{str(out / RECORD)!r} records no run. Remove it")
    return value


def _is_choice(value: Any, world: str, guard: str, settings: int) -> bool:
    for key in (world, guard):
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(value.get("screened"), str):
        return False
    numbers = value.get("without")
    numbers = [value.get("setting"), *numbers] if isinstance(numbers, list) else [None]
    return all(type(n) is int and 0 <= n < settings for n in numbers)
