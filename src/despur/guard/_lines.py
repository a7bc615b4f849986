"""Tensors with a line for each position of a text: in memory, in a file once they are large."""

import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

IN_MEMORY = 2**26  # bytes: 64 MB


def joined_lines(wheres: Iterable[Tensor], parts: Iterable[Mapping[str, Tensor]], count: int) -> dict[str, Tensor]:
    """Put lines that come in parts into one tensor a name, on the CPU.

    Args:
        wheres: For each part where its lines belong (m,).
        parts: For each part, by name, the lines (m, ...).
        count: Lines in all.
    """
    whole: dict[str, Tensor] = {}
    for lines, where in zip(parts, wheres, strict=True):
        whole = whole or _room(count, lines)
        for name, values in lines.items():
            whole[name][where] = values.to(whole[name])
    return whole


def _room(count: int, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    shapes = {name: (count, *lines.shape[1:]) for name, lines in like.items()}
    size = sum(math.prod(shapes[name]) * lines.element_size() for name, lines in like.items())
    if size <= IN_MEMORY:
        return {name: torch.empty(shapes[name], dtype=lines.dtype) for name, lines in like.items()}
    # the file has no name any more when it is used, and is gone with the last tensor on it
    with tempfile.TemporaryDirectory(prefix="despur-", ignore_cleanup_errors=True) as folder:
        return {
            name: torch.from_file(
                str(Path(folder) / name), shared=True, size=math.prod(shapes[name]), dtype=lines.dtype
            ).view(shapes[name])
            for name, lines in like.items()
        }
