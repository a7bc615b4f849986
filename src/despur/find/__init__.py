"""Find hidden factors: in adapter weights, in activations, and prove them causally."""

from despur.find._activations import DifferencePCA, MeanDifference, activation_differences, from_activations, mean_shift
from despur.find._causal import CausalCheck, causal_check, matched_random
from despur.find._shared import SharedDirections, from_adapter

__all__ = [
    "CausalCheck", "DifferencePCA", "MeanDifference", "SharedDirections", "activation_differences", "causal_check", "from_activations",
    "from_adapter", "matched_random", "mean_shift",
]  # fmt: skip
