"""What tests of several guards do to a model: move its weights, train it, read a guard's penalty."""

import torch

from despur.claims.tiny_runs import OPTIMIZERS, learn, move
from despur.core import Context

__all__ = ["ENERGY", "OPTIMIZERS", "bound_penalty", "learn", "move", "penalty"]

ENERGY = 0.7  # of the inputs' squares, for the orthogonal guards


def penalty(edit, model) -> torch.Tensor:
    return edit({"loss": torch.zeros(())}, Context(model))["loss"]


def bound_penalty(edit, model) -> torch.Tensor:
    """The penalty of a guard that measures its reference when it is bound."""
    edit.bind(model)
    return penalty(edit, model)
