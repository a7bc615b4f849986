"""At inference: edits that are attached while the model is used; its weights stay as they are."""

from despur.steer.caa import caa
from despur.steer.lineas import lineas

__all__ = [
    "caa",
    "lineas",
]
