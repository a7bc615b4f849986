"""Blocks ↔ plain values of JSON, checked field by field when they are read: the file may be a stranger's."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from despur.core.errors import BadInput
from despur.report.study import Block

KINDS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Block)}
_INFINITE = {"inf": math.inf, "-inf": -math.inf}


def blocks_to_json(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Each block with the name of its kind; NaN becomes null, and infinity the text "inf"."""
    return [{"block": type(block).__name__, **_plain(block)} for block in blocks]


def blocks_from_json(values: Any, where: str) -> tuple[Block, ...]:
    """The blocks again.

    Args:
        values: What `blocks_to_json` gave.
        where: Their source, for errors.

    Raises:
        BadInput: something that is no block.

    Example:
        >>> from despur.report import Text
        >>> blocks_from_json(blocks_to_json([Text("Why", "so")]), "here")
        (Text(title='Why', body='so'),)
    """
    if not isinstance(values, list):
        raise BadInput(f"{where} has no list of blocks. Is it as despur wrote it?")
    return tuple(_block(value, f"block {i} of {where}") for i, value in enumerate(values))


def _block(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or value.get("block") not in KINDS:
        raise BadInput(f"{where} is of no kind that this version knows; there are {', '.join(KINDS)}")
    return _made(KINDS[value["block"]], {k: v for k, v in value.items() if k != "block"}, where)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str.encode(value, "utf-8", "replace").decode("utf-8")
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else None if math.isnan(number) else f"{number}"
    return str(value)


def _made(kind: type, value: Any, where: str) -> Any:
    names = {f.name: f for f in dataclasses.fields(kind)}
    if not isinstance(value, dict) or not set(value) <= set(names):
        raise BadInput(f"{where} has fields that a {kind.__name__} has not; it has {', '.join(names)}")
    lacking = [n for n, f in names.items() if n not in value and f.default is dataclasses.MISSING]
    if lacking:
        raise BadInput(f"{where} lacks {lacking[0]!r}. Is it as despur wrote it?")
    hints = get_type_hints(kind)
    return kind(**{n: _typed(v, hints[n], f"{n} in {where}") for n, v in value.items()})


def _typed(value: Any, hint: Any, where: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _one_of(value, parts, where)
    if origin is Literal and value in parts:
        return value
    if origin is tuple and isinstance(value, list) and len(value) == len(parts):
        return tuple(_typed(v, p, where) for v, p in zip(value, parts, strict=True))
    if origin is Sequence and isinstance(value, list):
        return [_typed(v, parts[0], where) for v in value]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _made(hint, value, where)
    if hint is np.ndarray and isinstance(value, list):
        return _corners(value, where)
    return _one_of(value, (hint,), where)


def _one_of(value: Any, kinds: Sequence[Any], where: str) -> Any:
    numbers = float in kinds or int in kinds
    if value is None and numbers:
        return None if type(None) in kinds else math.nan
    if isinstance(value, str) and value in _INFINITE and numbers:
        return _INFINITE[value]
    allowed = tuple(k for k in kinds if isinstance(k, type))
    if isinstance(value, bool):
        if bool in allowed or numbers:
            return value
    elif isinstance(value, allowed) or (float in allowed and isinstance(value, int)):
        return value
    raise BadInput(
        f"{where} is {str(value)[:60]!r}, where {' or '.join(k.__name__ for k in allowed)} is needed. Is it as despur wrote it?"
    )


def _corners(value: Any, where: str) -> np.ndarray:
    try:
        return np.array(value, dtype=float).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where} is no list of pairs of numbers. Is it as despur wrote it?") from error
