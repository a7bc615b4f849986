"""Find hidden factors: in adapter weights, in activations, and prove them causally.

Each name is imported when it is asked for: the estimators need scikit-learn, which takes a second, and an audit does not.
"""

from typing import TYPE_CHECKING

from despur.core._late import imported_late

if TYPE_CHECKING:
    from despur.find._activations import DifferencePCA, MeanDifference
    from despur.find._causal import CausalCheck, causal_check, causal_checks
    from despur.find._continuations import Continuations, continuations
    from despur.find._describe import RowScores, promoted, rows_along
    from despur.find._from_activations import activation_differences, from_activations, mean_shift
    from despur.find._from_adapter import from_adapter
    from despur.find._loss_slope import LossSlope, loss_slopes
    from despur.find._matched import matched_random, random_twins
    from despur.find._neutral import NeutralNull
    from despur.find._overlap import Overlap, holm, overlap
    from despur.find._shared import SharedDirections
    from despur.find._shares import ModuleShare, module_shares
    from despur.find._tokens import TokenShift, token_shift

_WHERE = {
    "_activations": ("DifferencePCA", "MeanDifference"),
    "_causal": ("CausalCheck", "causal_check", "causal_checks"),
    "_continuations": ("Continuations", "continuations"),
    "_describe": ("RowScores", "promoted", "rows_along"),
    "_from_activations": ("activation_differences", "from_activations", "mean_shift"),
    "_from_adapter": ("from_adapter",),
    "_loss_slope": ("LossSlope", "loss_slopes"),
    "_matched": ("matched_random", "random_twins"),
    "_neutral": ("NeutralNull",),
    "_overlap": ("Overlap", "holm", "overlap"),
    "_shared": ("SharedDirections",),
    "_shares": ("ModuleShare", "module_shares"),
    "_tokens": ("TokenShift", "token_shift"),
}
METHODS = ("_activations", "_shared")  # what the catalogue of methods imports

__all__ = [
    "CausalCheck", "Continuations", "DifferencePCA", "LossSlope", "MeanDifference", "ModuleShare", "NeutralNull", "Overlap",
    "RowScores", "SharedDirections", "TokenShift", "activation_differences", "causal_check", "causal_checks", "continuations",
    "from_activations", "from_adapter", "holm", "loss_slopes", "matched_random", "mean_shift", "module_shares", "overlap",
    "promoted", "random_twins", "rows_along", "token_shift",
]  # fmt: skip

__getattr__ = imported_late("despur.find", _WHERE)
