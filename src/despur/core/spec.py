"""What an object was made by: a method's name, its options, and digests of its materials."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

_ASIDE = ("evidence",)  # of a factor: it speaks for the directions and changes nothing of what is done with them
_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Spec:
    """How an object was made; enough to make it again from the same materials.

    Args:
        name: The method, as `despur ls` prints it.
        options: Every option, defaults included.
        given: Argument -> the material that it was given.

    Example:
        >>> Spec("rehearse", {"strength": 1.0}, {"text": (1, 2)}).to_dict()["materials"]
        {'text': '3a316d6d'}
    """

    name: str
    options: Mapping[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def materials(self) -> dict[str, str]:
        """Argument -> short digest of the material's content."""
        return {argument: content_digest(value)[:8] for argument, value in self.given.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "options": dict(self.options), "materials": self.materials}

    def __str__(self) -> str:
        """As a call: `grasp(factor=1f2e3d4c, side='both', strength=1.0)`."""
        parts = [f"{k}={v}" for k, v in self.materials.items()] + [f"{k}={v!r}" for k, v in self.options.items()]
        return f"{self.name}({', '.join(parts)})"


def content_digest(value: Any) -> str:
    """SHA-256 of a material's content: tensors by value, adapters by their weights' file, everything else by its parts.

    Example:
        >>> content_digest({"a": (1, 2)}) == content_digest({"a": [1, 2]})
        True
    """
    sha = hashlib.sha256()
    _feed(sha, value)
    return sha.hexdigest()


def _feed(sha: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        import torch

        sha.update(f"{value.dtype} {tuple(value.shape)} ".encode())
        sha.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Path | str) and (file := _weights(value)):
        sha.update(file.read_bytes())
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            if part.name not in _ASIDE:
                sha.update(f"{part.name} ".encode())
                _feed(sha, getattr(value, part.name))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            sha.update(f"{key} ".encode())
            _feed(sha, value[key])
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if all(isinstance(part, int) for part in value):  # token ids: rows by the thousand
            sha.update(f"{list(value)}".encode())
        else:
            for part in value:
                sha.update(b"| ")
                _feed(sha, part)
    else:
        sha.update(f"{value} ".encode())


def _weights(folder: Path | str) -> Path | None:
    """An adapter's file, if that is what a path or a text leads to."""
    try:
        return file if (file := Path(folder) / _WEIGHTS).is_file() else None
    except (OSError, ValueError):  # a text that is no path: too long, or with a zero byte
        return None
