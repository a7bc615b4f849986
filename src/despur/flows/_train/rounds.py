"""Directions found again: what a guarded run went round by joins what it was held on."""

from collections.abc import Sequence

import torch

from despur.core import EVERYWHERE, Subspace
from despur.core.errors import BadInput

_NEW = 1e-3  # length left of a unit direction when the former ones are taken out: less is nothing new


def joined(former: Sequence[Subspace], found: Sequence[Subspace]) -> tuple[Subspace, ...]:
    """Join each site's new directions with those that held there before, by QR; sites without new ones stay.

    What held at a norm or layer is its own factor, else its layer's, else that of the whole stream.

    Raises:
        BadInput: a join that spans the whole stream.
    """
    held = {f.site.module: f for f in former}
    for factor in found:
        held[factor.site.module] = _join(_before(factor.site.module, held), factor)
    return tuple(held.values())


def _before(site: str, held: dict[str, Subspace]) -> Subspace | None:
    around = next((f for name, f in held.items() if site.startswith(f"{name}.")), None)
    return held.get(site, around) or held.get(EVERYWHERE)


def _join(former: Subspace | None, found: Subspace) -> Subspace:
    if former is None:
        return found
    parts = [former.read] if torch.equal(former.read, former.write) else [former.read, former.write]
    rows = torch.cat([*parts, found.read]).double()
    q, r = torch.linalg.qr((rows / rows.norm(dim=1, keepdim=True)).T)
    basis = q[:, r.diagonal().abs() > _NEW].T.float()
    if len(basis) >= found.width:
        raise BadInput(
            f"at {found.site.module!r} the directions of all rounds have rank {len(basis)} in width d={found.width}: nothing "
            "is left to learn with. Take fewer --rounds"
        )
    return Subspace.orthonormal(basis, site=found.site, method="rounds", joined=[former.rank, found.rank])
