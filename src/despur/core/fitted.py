"""A fitted estimator on disk: its name, options and fitted numbers as JSON and safetensors, never a pickle."""

import hashlib
import inspect
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from despur.core.catalogue import find_method
from despur.core.disk.files import read_json, write_json
from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.factor_files import load_factors, save_factors
from despur.core.store import digest
from despur.core.types import Subspace

ABOUT, NUMBERS, SCHEMA = "fitted.json", "fitted.safetensors", "despur.fitted/1"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*_")  # what scikit-learn's contract calls fitted
_FACTORS = "factors_"  # of a Finder: written as any other factors are


def save_fitted(estimator: Any, method: str, folder: Path, note: Mapping[str, Any] | None = None) -> None:
    """Write what a fit has learned: every attribute that ends in `_`, if it is an array, a number, text or a list of these.

    Args:
        estimator: Fitted.
        method: Its name in the catalogue.
        folder: A new one; see `new_folder`.
        note: What else belongs to the fit, as JSON: the names of its columns.

    Raises:
        BadInput: an attribute of another kind, NaN in one, or files that cannot be written.
    """
    plain: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, value in sorted(vars(estimator).items()):
        if not _NAME.fullmatch(name):
            continue
        if name == _FACTORS and all(isinstance(f, Subspace) for f in value):
            save_factors(tuple(value), folder)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            if not np.isfinite(value).all():
                raise BadInput(f"{method} was fitted to NaN or Inf in {name}, so it is not written. Look at the table")
            arrays[name] = np.ascontiguousarray(value)
        elif _is_plain(value := value.item() if isinstance(value, np.generic) else value):
            plain[name] = value
        else:
            raise BadInput(
                f"{method} has {name}, a {type(value).__name__}; arrays, numbers, text and lists of these can be written. "
                "Name it without the last underscore if it need not be"
            )
    save_file(arrays, folder / NUMBERS)
    shapes = {name: [str(a.dtype), list(a.shape)] for name, a in arrays.items()}
    about = {"schema": SCHEMA, "method": method, "options": estimator.get_params(deep=False), "attributes": plain,
             "arrays": shapes, "note": dict(note or {})}  # fmt: skip
    write_json(folder / ABOUT, {**about, "digest": _digest(about, folder)})


def load_fitted(folder: Path | str) -> tuple[Any, dict[str, Any]]:
    """Build the estimator again, by its name and options, and give it what it had learned. Nothing in the folder is executed.

    Returns:
        The estimator, and the note that was written with it.

    Raises:
        BadInput: no such folder, or files that are damaged, changed by hand, not finite, or not of one fit.
        UnknownName: a method that this version does not know.
    """
    path, numbers = Path(folder) / ABOUT, Path(folder) / NUMBERS
    about = read_json(path)
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise BadInput(f"{str(path)!r} describes no fitted estimator. Give a folder that `despur fit` wrote")
    try:
        arrays = load_file(numbers)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot read {str(numbers)!r}: {reason}. Fit it again") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadInput(f"{str(numbers)!r} contains NaN or Inf in {name}. Fit it again")
    shapes = {name: [str(a.dtype), list(a.shape)] for name, a in arrays.items()}
    if shapes != about.get("arrays"):
        wrong = _first_difference(about.get("arrays"), shapes)
        raise BadInput(f"{str(numbers)!r} has {wrong}: they are not of one fit. Fit it again")
    if about.pop("digest", None) != _digest(about, Path(folder)):
        raise BadInput(f"{str(path)!r} or {NUMBERS!r} was changed after the fit. Fit it again")
    entry = find_method(str(about["method"]))
    if unknown := [n for n in about["options"] if n not in entry.options]:
        raise UnknownName(
            f"{str(path)!r} has option {unknown[0]!r}, which {entry.name} does not take here"
            f"{nearest(unknown[0], entry.options)}. Fit it again"
        )
    if not inspect.isclass(entry.factory):
        raise BadInput(f"{str(path)!r} names {entry.name}, which is no estimator. Fit it again")
    estimator = entry.factory(**about["options"])
    learned: dict[str, Any] = {**about["attributes"], **arrays}
    if (Path(folder) / "factors.json").exists():
        learned[_FACTORS] = load_factors(folder)
    for name, value in learned.items():
        if not _NAME.fullmatch(name):
            raise BadInput(f"{str(path)!r} has attribute {name!r}, which no fit writes. Fit it again")
        setattr(estimator, name, value)
    return estimator, about["note"]


def _digest(about: dict[str, Any], folder: Path) -> str:
    return digest([about, hashlib.sha256((folder / NUMBERS).read_bytes()).hexdigest()])


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))


def _first_difference(described: Any, there: dict[str, Any]) -> str:
    described = described if isinstance(described, dict) else {}
    name = next(n for n in sorted({*described, *there}) if described.get(n) != there.get(n))

    def words(found: Any) -> str:
        return f"{found[0]} {tuple(found[1])}" if isinstance(found, list) and len(found) == 2 else "nothing"

    return f"{words(there.get(name))} for {name}, and {ABOUT!r} describes {words(described.get(name))}"
