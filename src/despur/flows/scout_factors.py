"""What `grasp` is given by default: the scout's own leading directions, at every norm and layer."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from despur.core import Adapter, Anatomy, Site, Subspace
from despur.find import from_adapter

GRASP_RANK = 4


def layer_sites(base: Any) -> list[Site]:
    """The stream after every layer."""
    return Anatomy.of(base).sites


def scout_directions(
    adapter: Adapter | Sequence[Adapter],
    base: Any,
    *,
    rank: int = GRASP_RANK,
    sides: Sequence[Literal["read", "write"]] = ("read", "write"),
    roles: Mapping[str, str] | None = None,
) -> tuple[Subspace, ...]:
    """Take what each norm's readers read most, and each layer's writers write most, without a null; of one scout or several."""
    places: dict[str, Literal["norm", "layer"]] = {"read": "norm", "write": "layer"}
    return tuple(
        factor
        for side in sides
        for factor in from_adapter(adapter, base, side=side, per=places[side], rank=rank, level=None, roles=roles)
    )
