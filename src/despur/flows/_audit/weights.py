"""What an adapter's weights say by themselves."""

from collections.abc import Mapping
from typing import Any

from despur.core import Adapter
from despur.find import from_adapter
from despur.flows._audit.screen import Screen
from despur.flows._audit.structure import structure_of
from despur.flows.folder_findings import audited_findings

SPECTRUM = 8  # singular values of a module that are recorded


def weights_of(adapter: Adapter, tuned: Any, seen: Screen, roles: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Directions that modules share, spectra, and how much of the adapter acts.

    Args:
        adapter: The adapter.
        tuned: The model with it on.
        seen: What was measured before.
        roles: For architectures that are not in the table; see `stream_roles`.
    """
    base, cores = tuned.get_base_model(), seen.cores
    shared = {}
    for side in ("read", "write"):
        known = seen.unknown is None
        found = from_adapter(adapter, base, side=side, rank=8, cores=cores, roles=roles) if known else ()
        shared[side] = {"directions": found[0].rank if found else 0, **(dict(found[0].evidence) if found else {})}
    spectra = {n: [float(f"{x:.6g}") for x in c.values[:SPECTRUM].tolist()] for n, c in cores.items()}
    return {
        "modules": len(adapter.updates), "norm": adapter.norm(), "shared": shared, "spectra": spectra,
        "structure": structure_of(adapter, tuned, cores).to_dict(), "kept": dict(adapter.kept), "others": dict(adapter.others),
        "findings": audited_findings(adapter.folder),
    }  # fmt: skip
