"""One model's tensors under several trees of modules: what is put on one of them leaves the others as they are."""

import copy
import itertools
from typing import Any


def shared_copy(model: Any) -> Any:
    """Copy a model's modules and their modes, not its weights and buffers, which both have.

    For a base that is only read: an adapter that is put on the copy, and its hooks, are not on the model. A change to a
    weight itself is seen by both, and so is `requires_grad`.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2))
        >>> other = shared_copy(model)
        >>> other[0] is model[0], other[0].weight is model[0].weight
        (False, True)
    """
    return copy.deepcopy(model, {id(t): t for t in itertools.chain(model.parameters(), model.buffers())})
