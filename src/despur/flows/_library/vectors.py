"""Factors from another tool's vectors of layers."""

from pathlib import Path
from typing import Any

from despur.core import Subspace
from despur.core.model.vector_files import KINDS, load_vectors

LENGTH = "length"  # evidence of a factor that was a vector: a direction has none


def is_vectors(path: Path | str) -> bool:
    """Whether a path is a file of vectors, and not a folder of factors."""
    return Path(path).suffix.lower() in KINDS and not Path(path).is_dir()


def factors_of_vectors(path: Path | str, model: Any) -> tuple[Subspace, ...]:
    """One direction a layer, its vector's; see `load_vectors` for what is read and refused."""
    return tuple(
        Subspace.orthonormal(
            vector[None], site=site, method="vectors", file=Path(path).name, **{LENGTH: float(vector.norm())}
        )
        for site, vector in load_vectors(path, model).items()
    )
