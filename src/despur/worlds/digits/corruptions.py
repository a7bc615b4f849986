"""What can go wrong with an image: noise, blur, contrast, rotation, shift, each from nothing to severe."""

from collections.abc import Callable
from dataclasses import replace
from math import cos, pi, radians, sin

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample

from despur.core.errors import BadInput, UnknownName, nearest
from despur.worlds.digits.rows import ROWS, SHAPE, DigitRows
from despur.worlds.digits.seeds import generator

Images = Float[Tensor, "n 1 8 8"]


def corrupt(rows: DigitRows, kind: str, severity: float = 0.5, *, seed: int = 0) -> DigitRows:
    """Corrupt every image; labels and numbers stay.

    What is drawn for a row depends on its number and the seed alone, not on the rows beside it.

    Args:
        rows: Rows.
        kind: `"noise"`: normal, deviation `severity`. `"blur"`: Gaussian, deviation 1.5 `severity` pixels. `"contrast"`: only
            1 − 0.9 `severity` of each pixel's distance from middle gray is left. `"rotate"`: all by 60 `severity` degrees,
            counterclockwise. `"shift"`: each 2 `severity` pixels in a direction of its own.
        severity: 0 (nothing, bit for bit) to 1.
        seed: Of noise and directions.

    Raises:
        UnknownName: there is no such corruption.
        BadInput: severity or seed is out of range.

    Example:
        >>> from despur.worlds import Digits
        >>> rows = Digits().test
        >>> grey = corrupt(rows, "contrast", 1.0)
        >>> round(float(grey.x.min()), 2), round(float(grey.x.max()), 2)
        (0.45, 0.55)
    """
    if kind not in CORRUPTIONS:
        raise UnknownName(f"no corruption {kind!r}{nearest(kind, CORRUPTIONS)}. There are: {', '.join(CORRUPTIONS)}")
    if not 0 <= severity <= 1:
        raise BadInput(f"severity={severity}: take 0 (none) to 1 (severe)")
    if severity == 0 or not len(rows):
        return rows
    draw = generator(seed, kind)
    return replace(rows, x=CORRUPTIONS[kind](rows.x, severity, draw, rows.number).clamp(0, 1))


def _noise(x: Images, severity: float, draw: np.random.Generator, number: Tensor) -> Images:
    return x + severity * torch.from_numpy(draw.standard_normal((ROWS, *SHAPE), np.float32))[number]


def _blur(x: Images, severity: float, draw: np.random.Generator, number: Tensor) -> Images:
    away = torch.arange(-7, 8)
    line = torch.exp(-(away**2) / (2 * (1.5 * severity) ** 2))
    line /= line.sum()
    return conv2d(conv2d(x, line.reshape(1, 1, 1, -1), padding=(0, 7)), line.reshape(1, 1, -1, 1), padding=(7, 0))


def _contrast(x: Images, severity: float, draw: np.random.Generator, number: Tensor) -> Images:
    return 0.5 + (1 - 0.9 * severity) * (x - 0.5)


def _rotate(x: Images, severity: float, draw: np.random.Generator, number: Tensor) -> Images:
    angle = radians(60 * severity)
    turn = torch.tensor([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0]])
    return _moved(x, turn.expand(len(x), 2, 3))


def _shift(x: Images, severity: float, draw: np.random.Generator, number: Tensor) -> Images:
    angle = torch.from_numpy(draw.uniform(0, 2 * pi, ROWS)).float()[number]
    where = torch.eye(2, 3).repeat(len(x), 1, 1)
    where[:, :, 2] = (
        severity / 2 * torch.stack([angle.cos(), angle.sin()], 1)
    )  # the image is 2 wide there: a pixel is 1/4
    return _moved(x, where)


def _moved(x: Images, where: Float[Tensor, "n 2 3"]) -> Images:
    return grid_sample(x, affine_grid(where, [*x.shape], align_corners=False), align_corners=False)


CORRUPTIONS: dict[str, Callable[[Images, float, np.random.Generator, Tensor], Images]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "rotate": _rotate,
    "shift": _shift,
}
