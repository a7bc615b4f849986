"""Small nets for the digits: with and without convolutions, with and without batch norm."""

from collections import OrderedDict
from copy import deepcopy

import torch
from torch import nn

from despur.core.errors import BadInput, UnknownName, nearest
from despur.worlds.digits.rows import CLASSES, DigitRows
from despur.worlds.digits.seeds import checked_seed

NETS = ("mlp", "mlp-norm", "conv", "conv-norm")


def digit_net(kind: str = "mlp", *, width: int | None = None, depth: int = 2, seed: int = 0) -> nn.Sequential:
    """Make a net that has not been trained: images (n, 1, 8, 8) in, ten logits out.

    Its modules are `flat`, `hidden1`, `norm1`, `active1`, `hidden2` and so on, then `head`, so that a method can name them.

    Args:
        kind: `"mlp"`, `"conv"`, and both with batch norm before every ReLU: `"mlp-norm"`, `"conv-norm"`.
        width: Units of each hidden layer, or channels of each convolution; by default 64 and 16.
        depth: Hidden layers. From the second on a convolution halves the image, down to one pixel at the fourth.
        seed: Of the weights; torch's own generator stays where it was.

    Raises:
        UnknownName: there is no such kind.
        BadInput: width, depth or seed is out of range.

    Example:
        >>> [name for name, _ in digit_net("mlp-norm", depth=1).named_children()]
        ['flat', 'hidden1', 'norm1', 'active1', 'head']
    """
    if kind not in NETS:
        raise UnknownName(f"no net {kind!r}{nearest(kind, NETS)}. There are: {', '.join(NETS)}")
    conv, norm = kind.startswith("conv"), kind.endswith("norm")
    width = width if width is not None else (16 if conv else 64)
    if not 0 < width <= 4096 or not 0 < depth <= 8:
        raise BadInput(f"width={width}, depth={depth}: take a width of 1 to 4096 and a depth of 1 to 8")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checked_seed(seed))
        size, side = (1, 8) if conv else (64, 1)
        if not conv:
            parts["flat"] = nn.Flatten()
        for i in range(1, depth + 1):
            if conv:
                stride = 1 if i == 1 else 2
                parts[f"hidden{i}"] = nn.Conv2d(size, width, 3, stride=stride, padding=1)
                side = (side - 1) // stride + 1
            else:
                parts[f"hidden{i}"] = nn.Linear(size, width)
            if norm:
                parts[f"norm{i}"] = nn.BatchNorm2d(width) if conv else nn.BatchNorm1d(width)
            parts[f"active{i}"], size = nn.ReLU(), width
        if conv:
            parts["flat"] = nn.Flatten()
        parts["head"] = nn.Linear(size * side**2, CLASSES)
    return nn.Sequential(parts).eval()


def has_norm(net: nn.Module) -> bool:
    """Say whether the net has batch norm, so that its training needs two rows a step."""
    return any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in net.modules())


def renormalized(net: nn.Module, rows: DigitRows) -> nn.Module:
    """Copy a net, with its batch-norm statistics estimated again on these rows; a net without batch norm is a plain copy.

    Labels are not used, and no weight changes: the control of every method that adapts a net while it is tested.

    Args:
        net: The net, which stays as it is.
        rows: Two rows or more.

    Raises:
        BadInput: there are fewer rows.

    Example:
        >>> from despur.worlds import Digits
        >>> net, rows = digit_net("mlp-norm"), Digits().test
        >>> moved = renormalized(net, rows)
        >>> bool((moved.norm1.running_mean != net.norm1.running_mean).any())
        True
    """
    if len(rows) < 2:
        raise BadInput(f"{len(rows)} rows to estimate statistics on; give two or more")
    copy = deepcopy(net)
    torch.optim.swa_utils.update_bn([rows.x], copy)
    return copy.eval()
