"""What stands before the first layer and behind the last: embeddings write the stream, the head reads it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from despur.core.errors import SiteNotFound
from despur.core.model.base_modules import map_shape
from despur.core.model.layer_pass import Pass
from despur.core.model.layer_terms import layer_terms, read_through
from despur.core.model.recorder import Recorder
from despur.core.model.roles import Role


def end_roles(
    model: Any, seen: Recorder, first: str, last: str, outside: Mapping[str, nn.Module], width: int
) -> dict[str, Role]:
    """Roles of embeddings and head, as far as they can be told; one that cannot has none.

    Args:
        model: The base.
        seen: A pass through it.
        first: Name of the first layer.
        last: Name of the last.
        outside: Modules that are in no layer.
        width: Of the stream.
    """
    order = [n for n in dict.fromkeys(seen.order) if n in outside]
    if first not in seen.enters or last not in seen.leaves:
        return {}
    start, end = seen.enters[first], seen.leaves[last]
    tolerance = 1e-4 if start.element_size() > 2 else 2e-2
    roles: dict[str, Role] = {}
    parts = {n: m for n, m in outside.items() if n in order}
    before = [n for n in order if n in seen.leaves and seen.leaves[n].shape == start.shape]
    for name, norm in _writers(seen, before, parts, start, tolerance).items():
        roles[name] = Role(name, "write", None, norm)
    heads = {model.get_output_embeddings()} - {None}
    for name in order:
        if parts[name] not in heads or map_shape(parts[name]) is None:
            continue
        norms = [n for n in order if n != name and n in seen.enters and seen.enters[n].shape == end.shape]
        read = Pass(
            {n: seen.enters[n] for n in (*norms, name)}, {n: seen.leaves[n] for n in (*norms, name) if n in seen.leaves},
            [*norms, name], parts, end, end, tolerance,
        )  # fmt: skip
        norm = read_through(read, name)
        if norm is not None:
            roles[name] = Role(name, "read", None, norm or None)
    return roles


def _writers(
    seen: Recorder, names: list[str], parts: Mapping[str, nn.Module], start: Tensor, tolerance: float
) -> dict[str, str | None]:
    """What adds up to the stream before the first layer."""
    zero = start.roll(1, 0)  # no module's output: the stream of other tokens must not be needed
    leaves = {n: seen.leaves[n] for n in names}
    enters = {n: seen.enters[n] for n in names if n in seen.enters}
    try:
        terms = layer_terms(Pass(enters, leaves, names, parts, zero, zero + start, tolerance), _never)
    except SiteNotFound:
        return {}
    return terms.writes


def _never(block: str, inside: str) -> bool:
    return False
