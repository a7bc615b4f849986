"""A guard of your own with its claim; name this module under the entry point `despur.methods`, then `despur prove still-bias`."""

import torch

from despur.core import Context, Edit, method
from despur.core.claim import claim
from despur.core.margin import compared


class _Still(Edit):
    point = "gradient"

    def forward(self, tensors, ctx):
        return {name: torch.zeros_like(g) if name.endswith("bias") else g for name, g in tensors.items()}


@method(room="guard", paper="an example")
def still_bias() -> Edit:
    """Give biases no gradient."""
    return _Still()


@claim(method="still-bias", says="biases get no gradient", control="the other weights", margin=0.5)
def biases_stay(seed: int, *, whole: bool):
    """Read a gradient before and after."""
    out = still_bias()({"bias": torch.ones(3), "weight": torch.ones(3)}, Context(torch.nn.Linear(3, 3)))
    largest, control = (float(out[name].max()) for name in ("bias", "weight"))
    return (compared("largest gradient", largest, control=control, higher_is_better=False),)
