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

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the scout moves less of the stream than is looked at."""
        factors, layers, rank = self.materials.get("factor"), len(self.materials.sites), self.materials.rank
        few = sum(f.rank < rank for f in factors)
        missing = (f"at {layers - len(factors)} of {layers} layers not at all",) * (len(factors) < layers)
        thin = (f"at {few} in fewer than {rank} directions",) * (few > 0)
        if not missing + thin:
            return ()
        return (
            f"the scout moves the stream {' and '.join(missing + thin)}: only what it moves is measured, and guarded along",
        )
