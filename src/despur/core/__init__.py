"""The types and their plumbing. Each name is imported when it is asked for: most need torch, which takes seconds; errors do not."""

from typing import TYPE_CHECKING

from despur.core.late import imported_late

if TYPE_CHECKING:
    from despur.core.adapter.adapter import Adapter
    from despur.core.adapter.lowrank import LowRank
    from despur.core.adapter.tuned import Tuned, load_tuned
    from despur.core.catalogue import Method, find_method, method, methods
    from despur.core.disk.files import read_json, write_json
    from despur.core.disk.lock import locked
    from despur.core.disk.new_folder import new_folder
    from despur.core.factor_files import load_factors, save_factors
    from despur.core.model.anatomy import Anatomy
    from despur.core.model.attach import attach, find_module, record
    from despur.core.model.fingerprint import fingerprint, same_base
    from despur.core.model.norm_gain import NormGain
    from despur.core.model.primitives import AddVector, ProjectOut, SwapCoordinates
    from despur.core.model.roles import Role, factor_at, match_role
    from despur.core.model.stream_roles import layer_path, stream_roles
    from despur.core.model.two_states import TwoStates
    from despur.core.model.vector_files import load_vectors, save_vectors
    from despur.core.reports import Report
    from despur.core.store import Store, digest
    from despur.core.types import EVERYWHERE, Context, Edit, Factor, Site, Subspace

_WHERE = {
    "adapter.adapter": ("Adapter",),
    "model.fingerprint": ("fingerprint", "same_base"),
    "model.attach": ("attach", "find_module", "record"),
    "adapter.lowrank": ("LowRank",),
    "catalogue": ("Method", "find_method", "method", "methods"),
    "model.primitives": ("AddVector", "ProjectOut", "SwapCoordinates"),
    "model.anatomy": ("Anatomy",),
    "model.stream_roles": ("layer_path", "stream_roles"),
    "model.norm_gain": ("NormGain",),
    "model.roles": ("Role", "factor_at", "match_role"),
    "store": ("Store", "digest"),
    "disk.lock": ("locked",),
    "disk.files": ("read_json", "write_json"),
    "disk.new_folder": ("new_folder",),
    "factor_files": ("load_factors", "save_factors"),
    "adapter.tuned": ("Tuned", "load_tuned"),
    "model.two_states": ("TwoStates",),
    "model.vector_files": ("load_vectors", "save_vectors"),
    "types": ("EVERYWHERE", "Context", "Edit", "Factor", "Site", "Subspace"),
    "reports": ("Report",),
}  # fmt: skip

__all__ = [
    "EVERYWHERE", "Adapter", "AddVector", "Anatomy", "Context", "Edit", "Factor", "LowRank", "Method", "NormGain",
    "ProjectOut", "Report", "Role", "Site", "Store", "Subspace", "SwapCoordinates", "Tuned", "TwoStates", "attach",
    "digest", "factor_at", "find_method", "find_module", "fingerprint", "layer_path", "load_factors", "load_tuned",
    "load_vectors", "locked", "match_role", "method", "methods", "new_folder", "read_json", "record", "same_base",
    "save_factors", "save_vectors", "stream_roles", "write_json",
]  # fmt: skip

__getattr__ = imported_late("despur.core", _WHERE)
