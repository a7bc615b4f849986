"""Find hidden factors: in adapter weights, in activations; proving them is `measure`'s.

The estimators are imported when they are asked for: they need scikit-learn, which takes a second.
"""

from typing import TYPE_CHECKING

from despur.core.late import imported_late, moved
from despur.core.model.matched import matched_random, random_twins
from despur.find.from_activations import activation_differences, from_activations, mean_shift
from despur.find.from_adapter import from_adapter
from despur.find.from_estimator import from_estimator
from despur.find.shuffled import shuffled

if TYPE_CHECKING:
    from despur.find.difference_pca import DifferencePCA
    from despur.find.mean_difference import MeanDifference
    from despur.find.shared_directions import SharedDirections

_WHERE = {
    "difference_pca": ("DifferencePCA",),
    "mean_difference": ("MeanDifference",),
    "shared_directions": ("SharedDirections",),
}
METHODS = tuple(_WHERE)  # what the catalogue of methods imports

__all__ = [
    "DifferencePCA", "MeanDifference", "SharedDirections", "activation_differences", "from_activations", "from_adapter",
    "from_estimator", "matched_random", "mean_shift", "random_twins", "shuffled",
]  # fmt: skip

_MOVED = dict.fromkeys((
    "CausalCheck", "Continuations", "LossSlope", "ModuleShare", "Overlap", "RowScores", "TokenShift",
    "causal_check", "causal_checks", "continuations", "loss_slopes", "module_shares", "overlap", "promoted",
    "rows_along", "token_shift",
), "despur.measure") | {"NeutralNull": "despur.judge", "holm": "despur.core.holm"}  # fmt: skip

__getattr__ = moved("despur.find", _MOVED, imported_late("despur.find", _WHERE))
