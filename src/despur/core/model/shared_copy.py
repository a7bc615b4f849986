"""One model's tensors under several trees of modules: what is put on one of them leaves the others as they are."""

import copy
from typing import Any

from torch import nn


def shared_copy(model: Any, *, frozen: bool = False) -> Any:
    """Copy a model's modules and their modes, not its weights and buffers, which both have.

    For a base that is only read: an adapter that is put on the copy, and its hooks, are not on the model. A change to a
    weight itself is seen by both, and so is `requires_grad`, unless the copy is frozen.

    Args:
        model: The model.
        frozen: Give the copy parameters of its own around the same numbers, without gradients; the model's keep their flags.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2))
        >>> other = shared_copy(model)
        >>> other[0] is model[0], other[0].weight is model[0].weight
        (False, True)
    """
    own = {
        id(p): nn.Parameter(p.detach(), requires_grad=False) if frozen and p.requires_grad else p
        for p in model.parameters()
    }
    return copy.deepcopy(model, {**{id(t): t for t in model.buffers()}, **own})
