"""Vectors of layers in files of other tools: control vectors (GGUF of llama.cpp and repeng), persona vectors (a `.pt` of rows)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.errors import BadInput, MissingExtra, ShapeMismatch
from despur.core.model.anatomy import Anatomy
from despur.core.types import Site

KINDS = (".gguf", ".pt")
_ARCH = "controlvector"
_LARGEST = 2**30  # bytes: 200 layers of width 16,384 in float32 are a hundredth of it
_NAME = re.compile(r"direction\.(\d{1,5})")


def load_vectors(path: Path | str, model: Any) -> dict[Site, Float[Tensor, " d"]]:
    """Read vectors of layers from another tool's file, each at the layer after which that tool adds it.

    | file | contents | vector i is added after |
    |---|---|---|
    | `.gguf` of llama.cpp, repeng | tensors `direction.i` | layer i, the first is 0 (llama.cpp has none for it) |
    | `.pt` of persona vectors | one tensor, a row a hidden state | layer i - 1; row 0, of the embeddings, is left out |

    A `.pt` is read by torch's own reader of plain tensors, which runs no code of the file.

    Args:
        path: The file.
        model: The model that they belong to, for the names of its layers.

    Returns:
        Site -> vector; zero vectors are left out.

    Raises:
        BadInput: another file, a damaged one, or one without vectors.
        ShapeMismatch: vectors of another width, or of more layers than the model has.
        MissingExtra: a `.gguf`, and no gguf to read it.

    Example:
        >>> # caa(load_vectors("happy.gguf", model), strength=0.5)
    """
    path, anatomy = Path(path), Anatomy.of(model)
    if path.suffix.lower() not in KINDS or not path.is_file():
        raise BadInput(f"{str(path)!r} is no file of vectors. Give a .gguf of llama.cpp or repeng, or a .pt of rows")
    if path.stat().st_size > _LARGEST:
        raise BadInput(f"{str(path)!r} has {path.stat().st_size} bytes, more than vectors have. Is it a model?")
    found = _gguf(path, anatomy.kind) if path.suffix.lower() == ".gguf" else _rows(path)
    sites = anatomy.sites
    vectors: dict[Site, Tensor] = {}
    for layer, vector in sorted(found.items()):
        if layer >= len(sites) or vector.shape != (anatomy.width,):
            raise ShapeMismatch(
                f"{str(path)!r} has a vector of shape {tuple(vector.shape)} for layer {layer}; this model has {len(sites)} layers of "
                f"width {anatomy.width}. Give the base that it was made for"
            )
        if not torch.isfinite(vector).all():
            raise BadInput(f"the vector of layer {layer} in {str(path)!r} contains NaN or Inf. Make it again")
        if vector.any():
            vectors[sites[layer]] = vector
    if not vectors:
        raise BadInput(f"{str(path)!r} contains no vector that is not zero. Make it again")
    return vectors


def save_vectors(
    vectors: Mapping[Site, Float[Tensor, " d"]], path: Path | str, *, model_type: str = ""
) -> dict[str, str]:
    """Write vectors of layers as a control vector that llama.cpp (`--control-vector`) and repeng read.

    Args:
        vectors: Site -> vector, at layers of a model.
        path: The file, which ends in `.gguf`.
        model_type: The model's, as `config.json` has it: a hint for the reader.

    Returns:
        What was left out, and why: sites that are no layer, and the first layer, where llama.cpp takes none.

    Raises:
        BadInput: another ending, a file that cannot be written, or no layer to write.
        MissingExtra: no gguf to write it.

    Example:
        >>> # save_vectors({Site("model.layers.3"): vector}, "away.gguf", model_type="llama")
    """
    path, left_out = Path(path), dict[str, str]()
    if path.suffix.lower() != ".gguf":
        raise BadInput(f"{str(path)!r} does not end in .gguf, and a control vector does. Name it so")
    layers: dict[int, Tensor] = {}
    for site, vector in vectors.items():
        layer = re.search(r"\.(\d+)$", site.module)
        if layer is None or site.side != "out":
            left_out[site.module] = "is no layer"
        elif int(layer[1]) == 0:
            left_out[site.module] = "is the first layer, at which llama.cpp adds nothing"
        elif int(layer[1]) in layers:
            raise BadInput(f"two vectors at {site.module!r}, where a file has one for each layer. Save one of them")
        else:
            layers[int(layer[1])] = vector
    if not layers:
        raise BadInput(
            f"there is no vector to write: {'; '.join(f'{n} {why}' for n, why in left_out.items()) or 'none'}"
        )
    writer = _library("writing").GGUFWriter(None, _ARCH)
    writer.add_string(f"{_ARCH}.model_hint", model_type)
    writer.add_uint32(f"{_ARCH}.layer_count", len(layers))
    for layer, vector in sorted(layers.items()):
        writer.add_tensor(f"direction.{layer}", vector.detach().to("cpu", torch.float32).numpy())
    draft = path.with_name(f".{path.name}.draft")
    try:
        writer.write_header_to_file(draft)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadInput(f"writing {str(path)!r} failed: {error.strerror or error}. Choose another file") from error
    return left_out


def _gguf(path: Path, kind: str) -> dict[int, Tensor]:
    gguf, vectors = _library("reading"), dict[int, Tensor]()
    try:
        reader = gguf.GGUFReader(path)
        arch, hint = (reader.get_field(key) for key in ("general.architecture", f"{_ARCH}.model_hint"))
        arch, hint = (None if f is None else bytes(f.parts[f.data[0]]).decode(errors="replace") for f in (arch, hint))
        plain = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
        tensors = {t.name: (t.tensor_type in plain, np.array(t.data)) for t in reader.tensors}
    except Exception as error:  # whatever its reader meets in a file that is cut off, or no GGUF at all
        raise BadInput(f"cannot read {str(path)!r}: {_short(error)}. Copy or make it again") from error
    if arch != _ARCH:
        raise BadInput(
            f"{str(path)!r} is of architecture {arch!r:.80}, where {_ARCH!r} is needed. Give a control vector"
        )
    if hint and hint not in (kind, "") and hint.partition("_")[0] != kind.partition("_")[0]:
        raise ShapeMismatch(f"{str(path)!r} was made for a {hint!r:.80}, this model is a {kind!r}. Give its own base")
    for name, (readable, values) in tensors.items():
        layer = _NAME.fullmatch(name)
        if layer is None or not readable or values.ndim != 1:
            raise BadInput(
                f"{name!r:.80} in {str(path)!r} is no vector 'direction.N' of float32 or float16. Give a control vector"
            )
        vectors[int(layer[1])] = torch.from_numpy(values.astype(np.float32))
    return vectors


def _rows(path: Path) -> dict[int, Tensor]:
    try:
        rows: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's own, zipfile's, torch's: all about this file
        raise BadInput(
            f"cannot read {str(path)!r} as plain tensors: {_short(error)}. A pickle of anything else is not read, since that can run code: "
            "save one tensor of rows, torch.save(rows, path)"
        ) from error
    if not isinstance(rows, Tensor) or rows.ndim != 2 or not rows.is_floating_point() or rows.layout != torch.strided:
        form = f"a tensor of {tuple(rows.shape)}" if isinstance(rows, Tensor) else f"a {type(rows).__name__}"
        raise BadInput(
            f"{str(path)!r} contains {form}, where one tensor with a row for each hidden state is needed. Save its rows"
        )
    return {i - 1: row.float() for i, row in enumerate(rows) if i}


def _library(doing: str) -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingExtra(f"{doing} a .gguf needs gguf. Install: pip install 'despur[gguf]'") from error
    return gguf


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
