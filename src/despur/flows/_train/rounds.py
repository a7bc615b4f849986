"""Directions found again: those that a guarded run used instead join those that it was guarded along."""

from collections.abc import Sequence

import torch

from despur.core import EVERYWHERE, Subspace
from despur.core.errors import BadInput

_NEW = 1e-3  # remaining length of a unit direction without the former ones: less is not new


def joined(former: Sequence[Subspace], found: Sequence[Subspace]) -> tuple[Subspace, ...]:
    """Join each site's new directions with the former ones that apply there, by QR; sites without new ones stay.

    The former factor of a norm or layer is its own, else its layer's, else that of the whole stream.

    Raises:
        BadInput: a join that spans the whole stream.
    """
    by_site = {f.site.module: f for f in former}
    for factor in found:
        by_site[factor.site.module] = _join(_before(factor.site.module, by_site), factor)
    return tuple(by_site.values())


def _before(site: str, by_site: dict[str, Subspace]) -> Subspace | None:
    around = next((f for name, f in by_site.items() if site.startswith(f"{name}.")), None)
    return by_site.get(site, around) or by_site.get(EVERYWHERE)


def _join(former: Subspace | None, found: Subspace) -> Subspace:
    if former is None:
        return found
    parts = [former.read] if torch.equal(former.read, former.write) else [former.read, former.write]
    rows = torch.cat([*parts, found.read]).double()
    q, r = torch.linalg.qr((rows / rows.norm(dim=1, keepdim=True)).T)
    basis = q[:, r.diagonal().abs() > _NEW].T.float()
    if len(basis) >= found.width:
        raise BadInput(
            f"at {found.site.module!r} the directions of all rounds have rank {len(basis)} in width d={found.width}: no "
            "direction is left to learn with. Use fewer --rounds"
        )
    return Subspace.orthonormal(basis, site=found.site, method="rounds", joined=[former.rank, found.rank])
