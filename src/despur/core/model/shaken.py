"""A copy of a layer whose weights were moved, so that nothing in it is zero or one by chance."""

import copy

import torch
from torch import nn

LARGEST = 2**31  # bytes of a layer up to which a copy in float32 is made


def shaken(layer: nn.Module) -> nn.Module:
    """A copy in float32 whose weights are moved a little, all of them; the layer itself where it is too large or quantised."""
    weights = list(layer.parameters())
    if sum(4 * w.numel() for w in weights) > LARGEST or not all(w.dtype.is_floating_point for w in weights):
        return layer
    clone = copy.deepcopy(layer).float()
    for weight in clone.parameters():
        size = float(weight.square().mean().sqrt()) or (0.02 if weight.ndim > 1 else 1.0)
        weight.add_((0.1 if weight.ndim > 1 else 0.3) * size * torch.randn(weight.shape).to(weight))
    return clone
