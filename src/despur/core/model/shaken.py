"""A copy of a layer whose weights were moved, so that nothing in it is zero or one by chance."""

import copy

import torch
from torch import nn

LARGEST = 2**31  # bytes of a layer up to which a copy in float32 is made


def shaken(layer: nn.Module) -> nn.Module:
    """A copy in float32 whose weights are moved a little, all of them; the layer itself where it is too large or quantised.

    Maps whose weights are small, as fresh ones are, are enlarged until they keep the size of what they read: what a short convolution
    or a gate does would else be lost in rounding, and the maps around it pass for ones that touch the stream.
    """
    weights = list(layer.parameters())
    if sum(4 * w.numel() for w in weights) > LARGEST or not all(w.dtype.is_floating_point for w in weights):
        return layer
    clone = copy.deepcopy(layer).float()
    for weight in clone.parameters():
        size = float(weight.square().mean().sqrt())
        if weight.ndim > 1:
            large = max(size, max(weight.shape[1:]) ** -0.5)  # experts in one tensor keep size as maps of their own do
            weight.mul_(large / size if size else 0).add_(0.1 * large * torch.randn(weight.shape).to(weight))
        else:
            weight.add_(0.3 * (size or 1.0) * torch.randn(weight.shape).to(weight))
    return clone
