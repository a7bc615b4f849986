"""Where an update writes a factor and reads it: layers × modules."""

import re
from collections.abc import Sequence

from despur.measure import ModuleShare
from despur.report import Bars, Heat

_LAYER = re.compile(r"^(.*?\b)(\d+)\.(.+)$")
LISTED = 12  # modules without a layer's number


def module_map(title: str, modules: Sequence[ModuleShare]) -> Heat | Bars:
    """A map of layers × modules; bars where the modules have no layers.

    Args:
        title: Above it.
        modules: Shares of the modules.

    Example:
        >>> one, two = (ModuleShare(f"layers.{i}.mlp.down_proj", "write", 0.2 * i, 0.1) for i in (1, 2))
        >>> chart = module_map("where", [one, two])
        >>> chart.rows, chart.columns, chart.values
        (['layer 1', 'layer 2'], ['down_proj'], [[0.2], [0.4]])
    """
    unrelated = f"An update that is unrelated to it has {modules[0].expected:.3f}."
    found = [(_LAYER.match(m.module), m) for m in modules]
    if not all(match for match, _ in found):
        bars: list[tuple[str, float, float | None, float | None]] = [
            (f"{m.module} ({m.side}s)", m.share, None, None) for m in modules[:LISTED]
        ]
        return Bars(title, bars, f"Share of the module's update along it. {unrelated}")
    cells = {(int(match[2]), match[3].rpartition(".")[2]): m for match, m in found if match}
    layers = sorted({layer for layer, _ in cells})
    sides = {kind: m.side for (_, kind), m in cells.items()}
    kinds = sorted(sides, key=lambda kind: (sides[kind] != "read", kind))
    most = max(modules, key=lambda m: m.share)
    split = ", ".join(f"{kind} {side}s" for kind, side in sorted(sides.items(), key=lambda pair: kinds.index(pair[0])))
    return Heat(
        title, [f"layer {layer}" for layer in layers], kinds,
        [[cells[layer, kind].share if (layer, kind) in cells else None for kind in kinds] for layer in layers],
        f"Share of each module's update along it: {split}. The largest is {most.share:.3f}, in {most.module}. {unrelated}",
    )  # fmt: skip
