"""Which of the modules that a fine-tune names it changes at all, and with how much of its rank."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer

from despur.core import Adapter
from despur.core.adapter.lowrank import Core, LowRank
from despur.core.model.base_modules import base_modules
from despur.core.model.stacks import map_shapes

_RANK = 1e-5  # of the largest singular value: below it, a float32 update is rounding
_ZERO = 1e-8  # of what its factors could be together: they cancel, but for rounding
_NAMED = 3


@dataclass(frozen=True)
class Structure:
    """What of an adapter acts.

    Args:
        declared: Modules that the adapter has weights for; all maps of the base, for a whole model.
        acting: Modules whose update is not zero.
        untouched: Modules of LoRA whose B is zero, as every LoRA starts: their update is zero.
        read_nothing: Modules of LoRA whose A is zero, which no usual training leaves: their update is zero.
        rank: Largest rank that a module has weights for; None for other kinds than LoRA.
        lower: Module of LoRA -> its effective rank, where that is lower than its own weights allow.
    """

    declared: int
    acting: int
    untouched: tuple[str, ...] = ()
    read_nothing: tuple[str, ...] = ()
    rank: int | None = None
    lower: Mapping[str, int] | None = None

    @property
    def sentence(self) -> str:
        """The same in a sentence."""
        parts = [f"{self.acting} of {self.declared} modules act"]
        if idle := self.declared - self.acting:
            parts[0] += f", {idle} {'is' if idle == 1 else 'are'} zero"
        for names, what in ((self.untouched, "B is zero, as at LoRA's start"), (self.read_nothing, "A is zero")):
            if names:
                parts.append(f"half-zero factors, {what}: {_some(names)}")
        if self.lower:
            ranks = sorted(set(self.lower.values()))
            few = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
            parts.append(f"an effective rank of {few}, where the factors allow {self.rank}: {_some(tuple(self.lower))}")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "untouched": list(self.untouched),
            "read_nothing": list(self.read_nothing),
            "lower": dict(self.lower or {}),
            "sentence": self.sentence,
        }


def structure_of(adapter: Adapter, tuned: Any, cores: Mapping[str, Core]) -> Structure:
    """Count what acts.

    Args:
        adapter: The updates.
        tuned: The model with the adapter on.
        cores: Decomposition of each module's update.
    """
    updates = adapter.updates
    acting = [n for n, c in cores.items() if len(c.values) and float(c.values[0]) > _ZERO * _size(updates[n])]
    if adapter.kind != "LORA" or adapter.kept or adapter.others:
        return Structure(max(_modules(adapter, tuned), len(updates)), len(acting))
    lower: dict[str, int] = {}
    for name in acting:
        values, possible = cores[name].values, min(updates[name].up.shape[0], *updates[name].down.shape)
        if (rank := int((values > _RANK * values[0]).sum())) < possible:
            lower[name] = rank
    idle = [n for n in updates if n not in set(acting)]
    return Structure(
        len(updates),
        len(acting),
        tuple(n for n in idle if updates[n].down.any() and not updates[n].up.any()),
        tuple(n for n in idle if not updates[n].down.any()),
        max((len(u.down) for u in updates.values()), default=0),
        lower,
    )


def _size(update: LowRank) -> float:
    return abs(update.scale) * float(update.up.float().norm()) * float(update.down.float().norm())


def _modules(adapter: Adapter, tuned: Any) -> int:
    if adapter.kind == "model":
        return len(map_shapes(base_modules(tuned.get_base_model())))
    return sum(isinstance(m, BaseTunerLayer) for m in tuned.modules())


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
