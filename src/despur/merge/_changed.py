"""The last step of every edit of a finished adapter: new updates, and a configuration that fits."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from despur.core import Adapter, LowRank
from despur.core.adapter.save import check_writable
from despur.core.errors import ShapeMismatch, nearest


def changed(adapter: Adapter, updates: Mapping[str, LowRank], **entry: Any) -> Adapter:
    """The adapter with other updates, all of one rank and of scale 1, and a configuration that fits.

    Raises:
        BadInput: the adapter is no plain LoRA.
    """
    check_writable(adapter)
    rank = max(u.down.shape[0] for u in updates.values())
    even: dict[str, LowRank] = {}
    for name, u in updates.items():
        spare = rank - u.down.shape[0]
        down, up = u.down.detach().float().cpu(), u.scale * u.up.detach().float().cpu()
        even[name] = LowRank(torch.nn.functional.pad(down, (0, 0, 0, spare)), torch.nn.functional.pad(up, (0, spare)))
    ours = {"r": rank, "lora_alpha": rank, "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    record = {**adapter.record, "after": [*adapter.record.get("after", []), entry]}
    return replace(adapter, updates=even, config={**adapter.config, **ours}, record=record)


def from_svd(u: Tensor, s: Tensor, vh: Tensor) -> LowRank:
    """An update out of singular triples, their size shared by both factors."""
    root = s.clamp(min=0).sqrt()
    return LowRank(root[:, None] * vh, u * root)


def check_alike(whole: Adapter, part: Adapter) -> None:
    """Check that one adapter changes all that the other does, in the same shapes.

    Raises:
        ShapeMismatch: it does not.
    """
    for name, update in part.updates.items():
        if name not in whole.updates:
            raise ShapeMismatch(
                f"one adapter changes {name!r}, the other not{nearest(name, whole.updates)}. Tune both alike"
            )
        sizes = [(u.up.shape[0], u.down.shape[1]) for u in (whole.updates[name], update)]
        if sizes[0] != sizes[1]:
            raise ShapeMismatch(
                f"{name!r} has shape {sizes[0]} in one adapter, {sizes[1]} in the other. Give two adapters of one base"
            )
