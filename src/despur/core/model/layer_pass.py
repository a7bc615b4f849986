"""What one pass through a layer showed, and the terms of what it adds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn


@dataclass
class Pass:
    """One pass through a layer.

    Args:
        enters: Module to what went in, one row a token (n, width).
        leaves: Module to what came out.
        order: Modules in the order in which they ended.
        modules: By name.
        before: The stream before the layer (t, d).
        after: The stream behind it.
        tolerance: Relative size of rounding.
    """

    enters: dict[str, Tensor]
    leaves: dict[str, Tensor]
    order: list[str]
    modules: Mapping[str, nn.Module]
    before: Float[Tensor, "t d"]
    after: Float[Tensor, "t d"]
    tolerance: float = 1e-4
    again: set[str] = field(default_factory=set)


@dataclass
class Terms:
    """What the maps of a layer do.

    Args:
        writes: Map to the norm that it passes on its way into the stream, or None.
        reads: Map to the norm between stream and map, or None.
        inner: Maps that touch the stream on neither side.
        blocks: Block that adds to the stream, without being a map, to the norm that it passes, or None.
        points: What may be read, rows of it by the norm that gives them, "" for the stream itself.
    """

    writes: dict[str, str | None] = field(default_factory=dict)
    reads: dict[str, str | None] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)
    blocks: dict[str, str | None] = field(default_factory=dict)
    points: dict[str, list[Tensor]] = field(default_factory=dict)
