"""What a scout showed."""

from dataclasses import dataclass
from pathlib import Path

from despur.flows.maker import Maker
from despur.guard import OwnText


@dataclass(frozen=True)
class Seen:
    """Results before the guarded run.

    Args:
        scouts: Adapters of the unguarded scouts, or the one that was given.
        text: Text that the guard may use.
        fresh: Own text that neither guard nor scout sees.
        materials: What guards are built from.
    """

    scouts: tuple[Path, ...]
    text: OwnText
    fresh: OwnText
    materials: Maker
