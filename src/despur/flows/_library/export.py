"""Factors of the library as a control vector of other tools."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from despur.core import Site, load_factors
from despur.core.adapter.peft_config import read_config
from despur.core.errors import UnknownName, nearest
from despur.core.model.vector_files import save_vectors
from despur.flows._library.entries import library_folder, list_library
from despur.flows._library.vectors import LENGTH
from despur.flows.verb import verb


@dataclass(frozen=True)
class Exported:
    """A control vector that was written.

    Args:
        file: Where.
        layers: Sites that have a vector in it.
        left_out: Sites that have none, and why.
    """

    file: Path
    layers: tuple[str, ...]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"file": str(self.file), "layers": list(self.layers), "left_out": self.left_out}


@verb
def export_from_library(
    name: str, file: Path | str, *, library: Path | str | None = None, base: Path | str | None = None
) -> Exported:
    """Write the factors of an entry as a control vector, a GGUF that llama.cpp and repeng read.

    Each layer's first direction becomes its vector, of length 1, or of the length that it had where it was read from such a
    file. A direction that despur found has a sign by chance: try both, as `--control-vector-scaled file.gguf -1`.

    Args:
        name: As `despur library ls` prints it.
        file: The file to write, which ends in `.gguf`; one that is there is replaced.
        library: The library's folder; $DESPUR_LIBRARY, or your data folder, if left out.
        base: Folder of the factors' base model, whose architecture the file then names.

    Raises:
        UnknownName: no such entry.
        BadInput: none of its factors is at a layer after the first, or the file cannot be written.
        MissingExtra: gguf is not installed.

    Example:
        $ despur library export bad-persona away.gguf --base base/
        >>> # export_from_library("bad-persona", "away.gguf").layers
    """
    known = [entry.name for entry in list_library(library=library)[0]]
    if name not in known:
        raise UnknownName(
            f"no entry {name!r} in {str(library_folder(library))!r}{nearest(name, known)}. List them: despur library ls"
        )
    vectors: dict[Site, Tensor] = {}
    for factor in load_factors(library_folder(library) / name):
        length = factor.evidence.get(LENGTH, 1.0)
        vectors[factor.site] = factor.write[0] * (length if isinstance(length, float) else 1.0)
    kind = "" if base is None else str(read_config(Path(base) / "config.json").get("model_type", ""))
    left_out = save_vectors(vectors, file, model_type=kind)
    return Exported(Path(file), tuple(s.module for s in vectors if s.module not in left_out), left_out)
