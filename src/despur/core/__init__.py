"""The types and their plumbing."""

from despur.core._adapter import Adapter, fingerprint
from despur.core._attach import attach, find_module, record
from despur.core._lowrank import LowRank
from despur.core._method import Method, find_method, method, methods
from despur.core._primitives import AddVector, SwapCoordinates
from despur.core._roles import NormGain, Role, factor_at, layer_path, match_role, stream_roles
from despur.core._store import Store, digest, load_factors, new_folder, read_json, save_factors, write_json
from despur.core._tuned import Tuned, load_tuned
from despur.core._two_states import TwoStates
from despur.core._types import EVERYWHERE, Context, Edit, Factor, Report, Site, Subspace

__all__ = [
    "EVERYWHERE", "Adapter", "AddVector", "Context", "Edit", "Factor", "LowRank", "Method", "NormGain", "Report", "Role", "Site",
    "Store", "Subspace", "SwapCoordinates", "Tuned", "TwoStates", "attach", "digest",
    "factor_at", "find_method", "find_module", "fingerprint", "layer_path", "load_factors", "load_tuned",
    "match_role", "method", "methods", "new_folder", "read_json", "record", "save_factors", "stream_roles",
    "write_json",
]  # fmt: skip
