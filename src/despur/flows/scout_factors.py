"""What `grasp` is given by default: the scout's own leading directions, wherever it reads and writes."""

from collections.abc import Sequence
from typing import Any

from despur.core import Adapter, Site, Subspace, layer_path
from despur.find import from_adapter

GRASP_RANK = 4


def layer_sites(base: Any) -> list[Site]:
    """The stream after every layer."""
    return [Site(layer_path(base).replace("#", str(i))) for i in range(base.config.num_hidden_layers)]


def scout_directions(
    adapter: Adapter | Sequence[Adapter], base: Any, *, rank: int = GRASP_RANK
) -> tuple[Subspace, ...]:
    """Take what each norm's readers read most, and each layer's writers write most, no null asked; of one scout or of several."""
    read = from_adapter(adapter, base, side="read", per="norm", rank=rank, level=None)
    write = from_adapter(adapter, base, side="write", per="layer", rank=rank, level=None)
    return (*read, *write)
