"""What a structural guard guarantees, measured on the adapter: no reading and no writing along the factor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from despur.core import Adapter, Anatomy, NormGain, Report, Subspace, factor_at, method


@method(room="measure", paper="despur 2026")
def leakage(
    adapter: Adapter, base: nn.Module, factor: Subspace | Sequence[Subspace], *, roles: Mapping[str, str] | None = None
) -> dict[str, Report]:
    """Measure how much of an update reads and writes along a factor.

    The guard's guarantee as a number: about 1e-7 for `grasp` in float32, near sqrt(k / d) for an update
    that is unrelated to the factor. Costs O((d_in + d_out) r²) a module, B A is never formed.

        read  = ||(W - W0) V||  / ||W - W0||  over the maps that read the stream
        write = ||Vᵀ (W - W0)|| / ||W - W0||  over the maps that write it

    Args:
        adapter: The update.
        base: Its base.
        factor: One basis for the stream, or one a layer or norm.
        roles: For architectures that are not in the table.

    Returns:
        Reports `read` and `write`; the control is a random subspace of the same rank, n the modules.

    Raises:
        SiteNotFound: a module whose role is not known.

    Example:
        >>> # leakage(Adapter.read("guarded/"), base, factor)["read"].value

    Source: the invariants of `grasp`.
    Differs: nothing known.
    Limits: measures what the guard did, not what the model does: an update that leaks nothing can still
        switch the factor on.
    """
    leaks = leak_by_module(adapter, base, factor, roles=roles)
    sides = {side: [x for x in leaks.values() if x.side == side] for side in ("read", "write")}
    return {side: _report(side, part) for side, part in sides.items() if part}


@dataclass(frozen=True, slots=True)
class ModuleLeak:
    """What one module's update reads or writes along the factor that it meets.

    Args:
        side: Whether the module reads the stream or writes it.
        rank: Directions k of the factor there.
        width: Of the stream, d.
        along: Frobenius norm of the update's part along them.
        random: The same for a random subspace of that rank.
        whole: Of the whole update.
    """

    side: Literal["read", "write"]
    rank: int
    width: int
    along: float
    random: float
    whole: float

    def share(self, part: float) -> float:
        """A part as a share of the whole; 0 where the whole is 0."""
        return part / self.whole if self.whole else 0.0


def leak_by_module(
    adapter: Adapter, base: nn.Module, factor: Subspace | Sequence[Subspace], *, roles: Mapping[str, str] | None = None
) -> dict[str, ModuleLeak]:
    """Measure `leakage` module by module; those that meet no factor are left out."""
    factors = {f.site.module: f for f in ((factor,) if isinstance(factor, Subspace) else factor)}
    modules = dict(base.named_modules())
    path = Anatomy.of(base, roles).known_path
    generator = torch.Generator().manual_seed(0)
    leaks: dict[str, ModuleLeak] = {}
    for name, role in adapter.roles(base, roles).items():
        met = factor_at(role, factors, path)
        if met is None:
            continue
        update = adapter.updates[name]
        drawn = torch.randn(met.rank, met.width, generator=generator)
        gain = NormGain.of(modules[role.norm] if role.norm else None, met.width)
        parts: list[float] = []
        for directions in (met.write if role.side == "read" else met.read, drawn):
            passed = gain.show(directions) if role.side == "read" else gain.pull_back(directions)
            basis = torch.linalg.qr(passed.double().T).Q.T
            parts.append(update.read_norm(basis) if role.side == "read" else update.write_norm(basis))
        leaks[name] = ModuleLeak(role.side, met.rank, met.width, parts[0], parts[1], update.norm())
    return leaks


def _report(side: str, leaks: Sequence[ModuleLeak]) -> Report:
    whole = sum(x.whole**2 for x in leaks)
    value, control = (
        (sum(part**2 for part in parts) / whole) ** 0.5 if whole else 0.0
        for parts in ([x.along for x in leaks], [x.random for x in leaks])
    )
    return Report(f"leakage_{side}", value, value, value, len(leaks), control, "share of the update's norm", False,
                  {"control": "random subspace", "exact": True})  # fmt: skip
