"""Factors on disk: tensors in one file, where they were found and the evidence in another."""

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from despur.core.disk.files import read_json, reason, write_json
from despur.core.errors import BadInput
from despur.core.types import Site, Subspace

_PARTS = ("read", "write", "center")


def save_factors(factors: tuple[Subspace, ...], folder: Path) -> None:
    """Write factors as `factors.safetensors` and `factors.json` into a folder.

    Raises:
        BadInput: the JSON cannot be written.
        ValueError: evidence that is not JSON.
    """
    tensors = {f"{i}.{part}": getattr(f, part) for i, f in enumerate(factors) for part in _PARTS}
    save_file({name: t.clone().contiguous() for name, t in tensors.items()}, folder / "factors.safetensors")
    meta = [{**asdict(f.site), "rank": f.rank, "width": f.width, "evidence": dict(f.evidence)} for f in factors]
    write_json(folder / "factors.json", meta)


def load_factors(folder: Path | str) -> tuple[Subspace, ...]:
    """Read factors back.

    Raises:
        BadInput: missing or damaged files, values that are not finite, or two files that do not belong together.
    """
    about, path = Path(folder) / "factors.json", Path(folder) / "factors.safetensors"
    meta = read_json(about)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {reason(error)}. Find the factors again") from error
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise BadInput(f"{str(path)!r} contains NaN or Inf. Find the factors again")
    factors: list[Subspace] = []
    try:
        for i, m in enumerate(meta):
            parts = [tensors.pop(f"{i}.{part}") for part in _PARTS]
            shapes = [tuple(t.shape) for t in parts]
            if shapes != [(m["rank"], m["width"])] * 2 + [(m["width"],)]:
                raise ValueError(f"factor {i} has the shapes {shapes}")
            site = Site(m["module"], m["side"])  # older files also have "tokens", which is not used
            factors.append(Subspace(*parts, site=site, evidence=dict(m["evidence"])))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{str(about)!r} does not fit {path.name!r}: {error}. Find the factors again") from error
    if tensors:
        raise BadInput(
            f"{str(about)!r} describes {len(factors)} factors, {path.name!r} contains more. Find the factors again"
        )
    return tuple(factors)
