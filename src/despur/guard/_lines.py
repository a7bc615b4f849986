"""Tensors with a line for each position of a text: in memory, in a file once they are large."""

import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from despur.core.disk.files import reserve
from despur.core.errors import CannotAttach

IN_MEMORY = 2**26  # bytes: 64 MB


def joined_lines(wheres: Iterable[Tensor], parts: Iterable[Mapping[str, Tensor]], count: int) -> dict[str, Tensor]:
    """Put lines that come in parts into one tensor a name, on the CPU.

    Args:
        wheres: For each part where its lines belong (m,).
        parts: For each part, by name, the lines (m, ...).
        count: Lines in all.

    Raises:
        CannotAttach: no room for them.
    """
    whole: dict[str, Tensor] = {}
    for lines, where in zip(parts, wheres, strict=True):
        whole = whole or room(
            {n: ((count, *v.shape[1:]), v.dtype) for n, v in lines.items()}, what="what the guard remembers of its text"
        )
        for name, values in lines.items():
            whole[name][where] = values.to(whole[name])
    return whole


def room(
    tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]], *, what: str, instead: str = ""
) -> dict[str, Tensor]:
    """Make tensors of zeros on the CPU, in a file that goes with them where they are large.

    Args:
        tensors: Name -> shape and type.
        what: What they are, for the error.
        instead: What else a user may do there.

    Raises:
        CannotAttach: the disk has no room.
    """
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in tensors.values())
    if size <= IN_MEMORY:
        return {name: torch.zeros(shape, dtype=dtype) for name, (shape, dtype) in tensors.items()}
    try:
        if shutil.disk_usage(tempfile.gettempdir()).free < size:
            raise OSError
        # the file has no name any more when it is used, and is gone with the last tensor on it
        with tempfile.TemporaryDirectory(prefix="despur-", ignore_cleanup_errors=True) as folder:
            return {name: _mapped(Path(folder) / name, *one) for name, one in tensors.items()}
    except OSError as error:
        raise CannotAttach(
            f"{what} take {size / 1e9:.3g} GB, and {tempfile.gettempdir()!r} has no room for them. Set TMPDIR to a folder with more, "
            f"or give fewer rows{instead}"
        ) from error


def _mapped(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    reserve(path, math.prod(shape) * dtype.itemsize)
    return torch.from_file(str(path), shared=True, size=math.prod(shape), dtype=dtype).view(shape)
