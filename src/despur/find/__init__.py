"""Find hidden factors: in adapter weights, in activations, and prove them causally."""

from despur.find._activations import DifferencePCA, MeanDifference, activation_differences, from_activations, mean_shift
from despur.find._causal import CausalCheck, causal_check, causal_checks
from despur.find._continuations import Continuations, continuations
from despur.find._describe import RowScores, promoted, rows_along
from despur.find._from_adapter import from_adapter
from despur.find._matched import matched_random
from despur.find._neutral import NeutralNull
from despur.find._overlap import Overlap, holm, overlap
from despur.find._shared import SharedDirections
from despur.find._shares import ModuleShare, module_shares
from despur.find._tokens import TokenShift, token_shift

__all__ = [
    "CausalCheck",
    "Continuations",
    "DifferencePCA",
    "MeanDifference",
    "ModuleShare",
    "NeutralNull",
    "Overlap",
    "RowScores",
    "SharedDirections",
    "TokenShift",
    "activation_differences",
    "causal_check",
    "causal_checks",
    "continuations",
    "from_activations",
    "from_adapter",
    "holm",
    "matched_random",
    "mean_shift",
    "module_shares",
    "overlap",
    "promoted",
    "rows_along",
    "token_shift",
]  # fmt: skip
