"""Which modules of an adapter read or write a direction most."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from despur.core import Adapter, NormGain, Subspace
from despur.core.model.base_modules import base_modules


class ModuleShare(NamedTuple):
    """How much of one module's update lies along a factor.

    Args:
        module: Its name in the base model.
        side: Whether it reads the stream or writes it.
        share: Energy of its update along the factor, as a share of its whole energy.
        expected: That share for an update that is unrelated to the factor: k / d.
    """

    module: str
    side: str
    share: float
    expected: float


def module_shares(
    adapter: Adapter, base: Any, factor: Subspace, *, roles: Mapping[str, str] | None = None
) -> list[ModuleShare]:
    """Rank modules by how much they read or write a factor.

    Every module is measured, wherever the factor was found: a direction belongs to the stream. Readers are measured
    behind their norm, as in `leakage`. Costs O((d_in + d_out) r²) a module.

    Args:
        adapter: The update.
        base: Its base.
        factor: The directions to look for.
        roles: For architectures that are not in the table; see `stream_roles`.

    Returns:
        One share a module, the largest first; modules whose update is zero are left out.

    Raises:
        SiteNotFound: a module whose role is not known.

    Example:
        >>> # module_shares(Adapter.read("adapter/"), base, factor)[0].module
    """
    modules = base_modules(base)
    shares: list[ModuleShare] = []
    for name, role in adapter.roles(base, roles).items():
        update = adapter.updates[name]
        whole = update.norm() ** 2
        if not whole:
            continue
        gain = NormGain.of(modules[role.norm] if role.norm else None, factor.width)
        passed = gain.show(factor.write) if role.side == "read" else gain.pull_back(factor.read)
        basis = torch.linalg.qr(passed.double().T).Q.T
        along = update.read_norm(basis) if role.side == "read" else update.write_norm(basis)
        shares.append(ModuleShare(name, role.side, along**2 / whole, factor.rank / factor.width))
    return sorted(shares, key=lambda s: -s.share)
