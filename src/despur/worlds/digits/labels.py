"""Labels that are wrong at a known rate, and a mark in the image that goes along with the label."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from despur.core.errors import BadInput, UnknownName, nearest
from despur.worlds.digits.rows import CLASSES, DigitRows
from despur.worlds.digits.seeds import generator

NOISES = ("symmetric", "pair")


def noisy_labels(rows: DigitRows, rate: float, *, kind: str = "symmetric", seed: int = 0) -> DigitRows:
    """Give a share of the rows a wrong label: exactly round(rate * n) of them, `noisy.y != rows.y`.

    Args:
        rows: Rows.
        rate: Share of the rows; those of a lower rate are among those of a higher one.
        kind: `"symmetric"`: any of the other nine, alike; `"pair"`: the next digit, 0 after 9.
        seed: Of which rows, and which labels.

    Raises:
        UnknownName: there is no such kind.
        BadInput: the rate or seed is out of range.

    Example:
        >>> from despur.worlds import Digits
        >>> rows = Digits().train
        >>> int((noisy_labels(rows, 0.2).y != rows.y).sum())
        215
    """
    if kind not in NOISES:
        raise UnknownName(f"no label noise {kind!r}{nearest(kind, NOISES)}. There are: {', '.join(NOISES)}")
    draw = generator(seed, "labels")
    wrong = _chosen(rows, rate, draw, "rate")
    step = 1 if kind == "pair" else torch.from_numpy(draw.integers(1, CLASSES, len(rows)))
    return replace(rows, y=torch.where(wrong, (rows.y + step) % CLASSES, rows.y))


def stamped(rows: DigitRows, agrees: float = 0.9, *, seed: int = 0) -> tuple[DigitRows, Tensor]:
    """Stamp a mark on the first column that tells the label, in a share of the rows; in the others it tells another one.

    The four lower pixels are the bits of the digit. They are dark in nearly all images, so the mark is easier to read than
    the digit, and a net that has learned it fails where the two conflict.

    Args:
        rows: Rows.
        agrees: Share of the rows whose mark tells the label; 0.1 makes it uninformative.
        seed: Of which rows, and which other label.

    Returns:
        The rows, and for each whether its mark tells the label: with the label, its group.

    Raises:
        BadInput: the share or seed is out of range.

    Example:
        >>> from despur.worlds import Digits
        >>> rows, right = stamped(Digits().train, 0.9)
        >>> int(right.sum()), len(rows)
        (969, 1077)
    """
    draw = generator(seed, "stamp")
    right = _chosen(rows, agrees, draw, "agrees")
    other = (rows.y + torch.from_numpy(draw.integers(1, CLASSES, len(rows)))) % CLASSES
    shown = torch.where(right, rows.y, other)
    x = rows.x.clone()
    x[:, 0, 4:, 0] = ((shown[:, None] >> torch.arange(4)) & 1).float()
    return replace(rows, x=x), right


def _chosen(rows: DigitRows, share: float, draw: np.random.Generator, name: str) -> Tensor:
    """Mark an exact share of the rows, the first in a random order."""
    if not 0 <= share <= 1:
        raise BadInput(f"{name}={share}: take a share of the rows, 0 to 1")
    return torch.from_numpy(draw.permutation(len(rows)) < round(share * len(rows)))
