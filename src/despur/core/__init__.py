"""The types and their plumbing. Each name is imported when it is asked for: most need torch, which takes seconds; errors do not."""

from typing import TYPE_CHECKING

from despur.core._late import imported_late

if TYPE_CHECKING:
    from despur.core._adapter import Adapter, fingerprint
    from despur.core._attach import attach, find_module, record
    from despur.core._lowrank import LowRank
    from despur.core._method import Method, find_method, method, methods
    from despur.core._primitives import AddVector, ProjectOut, SwapCoordinates
    from despur.core._roles import NormGain, Role, factor_at, layer_path, match_role, stream_roles
    from despur.core._store import Store, digest, load_factors, new_folder, read_json, save_factors, write_json
    from despur.core._tuned import Tuned, load_tuned
    from despur.core._two_states import TwoStates
    from despur.core._types import EVERYWHERE, Context, Edit, Factor, Report, Site, Subspace

_WHERE = {
    "_adapter": ("Adapter", "fingerprint"),
    "_attach": ("attach", "find_module", "record"),
    "_lowrank": ("LowRank",),
    "_method": ("Method", "find_method", "method", "methods"),
    "_primitives": ("AddVector", "ProjectOut", "SwapCoordinates"),
    "_roles": ("NormGain", "Role", "factor_at", "layer_path", "match_role", "stream_roles"),
    "_store": ("Store", "digest", "load_factors", "new_folder", "read_json", "save_factors", "write_json"),
    "_tuned": ("Tuned", "load_tuned"),
    "_two_states": ("TwoStates",),
    "_types": ("EVERYWHERE", "Context", "Edit", "Factor", "Report", "Site", "Subspace"),
}  # fmt: skip

__all__ = [
    "EVERYWHERE", "Adapter", "AddVector", "Context", "Edit", "Factor", "LowRank", "Method", "NormGain", "ProjectOut",
    "Report", "Role", "Site", "Store", "Subspace", "SwapCoordinates", "Tuned", "TwoStates", "attach", "digest",
    "factor_at", "find_method", "find_module", "fingerprint", "layer_path", "load_factors", "load_tuned",
    "match_role", "method", "methods", "new_folder", "read_json", "record", "save_factors", "stream_roles",
    "write_json",
]  # fmt: skip

__getattr__ = imported_late("despur.core", _WHERE)
