"""What a structural guard promises, read off the adapter: no reading, no writing along the factor."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from despur.core import Adapter, NormGain, Report, Subspace, factor_at, layer_path, method


@method(room="measure", paper="despur 2026")
def leakage(
    adapter: Adapter, base: nn.Module, factor: Subspace | Sequence[Subspace], *, roles: Mapping[str, str] | None = None
) -> dict[str, Report]:
    """Measure how much of an update reads and writes along a factor.

    The guard's promise as a number: about 1e-7 for `grasp` in float32, near sqrt(k / d) for an update
    that knows nothing of the factor. Costs O((d_in + d_out) r²) a module, B A is never formed.

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

    Source: the invariants of DESIGN; see `grasp`.
    Differs: nothing known.
    Limits: says what the guard did, not what the model does: an update that leaks nothing can still
        switch the factor on.
    """
    factors = {f.site.module: f for f in ((factor,) if isinstance(factor, Subspace) else factor)}
    modules = dict(base.named_modules())
    path = None if roles else layer_path(base)
    generator = torch.Generator().manual_seed(0)
    along = {("read", 0): 0.0, ("read", 1): 0.0, ("write", 0): 0.0, ("write", 1): 0.0}
    whole = {"read": 0.0, "write": 0.0}
    counted = {"read": 0, "write": 0}
    for name, role in adapter.roles(base, roles).items():
        found = factor_at(role, factors, path)
        if found is None:
            continue
        update = adapter.updates[name]
        counted[role.side] += 1
        whole[role.side] += update.norm() ** 2
        drawn = torch.randn(found.rank, found.width, generator=generator)
        gain = NormGain.of(modules[role.norm] if role.norm else None, found.width)
        for i, directions in enumerate((found.write if role.side == "read" else found.read, drawn)):
            shown = gain.show(directions) if role.side == "read" else gain.pull_back(directions)
            basis = torch.linalg.qr(shown.double().T).Q.T
            part = update.read_norm(basis) if role.side == "read" else update.write_norm(basis)
            along[role.side, i] += part**2
    return {
        side: _report(side, along[side, 0], along[side, 1], whole[side], counted[side])
        for side in ("read", "write")
        if counted[side]
    }


def _report(side: str, along: float, random: float, whole: float, n: int) -> Report:
    value, control = ((part / whole) ** 0.5 if whole else 0.0 for part in (along, random))
    return Report(f"leakage_{side}", value, value, value, n, control, "share of the update's norm", False,
                  {"control": "random subspace", "exact": True})  # fmt: skip
