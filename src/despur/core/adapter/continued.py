"""Going on with an adapter: folded into its base as what a run starts from, and joined with what the run adds."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.adapter.adapter import Adapter
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.save import check_writable, embeddings_of
from despur.core.errors import BadInput
from despur.core.model.base_modules import base_modules, map_shape, unwrapped


@torch.no_grad()
def fold_in(base: Any, adapter: Adapter) -> None:
    """Add an adapter's updates to the weights of its base, in place, in float64 and rounded once.

    A base in a shorter float is first made float32: rounding to its digits would lose the adapter's.

    Args:
        base: The plain base.
        adapter: Plain LoRA on linear maps, checked against the base.

    Raises:
        BadInput: the adapter is another kind, or on embeddings or tied weights; or the base is quantised.
    """
    check_writable(adapter)
    where = repr(str(adapter.folder)) if adapter.folder else "the adapter"
    if getattr(base, "hf_quantizer", None) is not None:
        raise BadInput(f"the base is quantised, and {where} cannot be added to it exactly. Give the base in bfloat16")
    modules = base_modules(base)
    weights = {name: unwrapped(modules[name]).get_parameter("weight") for name in adapter.updates if name in modules}
    tied = [n for n in adapter.updates if n not in weights or _users(base, weights[n]) > 1]
    if wrong := [*tied, *embeddings_of(adapter)]:
        raise BadInput(
            f"{where} adapts {wrong[0]!r}, embeddings or a weight that another module shares, and going on from there is not "
            "handled. Give LoRA of linear maps alone"
        )
    if any(p.is_floating_point() and p.element_size() < 4 for p in base.parameters()):
        base.float()
        weights = {name: unwrapped(modules[name]).get_parameter("weight") for name in weights}
    for name, update in adapter.updates.items():
        weight = weights[name]
        up, down = (t.detach().to(weight.device, torch.float64) for t in (update.up, update.down))
        change = update.scale * up @ down
        linear = isinstance(unwrapped(modules[name]), nn.Linear)
        weight.copy_(weight.double() + (change if linear else change.T))


def joined(start: Adapter, added: Adapter, base: nn.Module) -> Adapter:
    """One plain adapter that does what two do together: each module's update is the start's, then the added one.

    Args:
        start: The first.
        added: The second; its configuration is taken, with ranks and modules of both.
        base: The base, for the names of its modules.
    """
    updates: dict[str, LowRank] = {}
    for name in sorted({*start.updates, *added.updates}):
        parts = [a.updates[name] for a in (start, added) if name in a.updates]
        down = torch.cat([u.down.detach().float().cpu() for u in parts])
        up = torch.cat([u.scale * u.up.detach().float().cpu() for u in parts], 1)
        updates[name] = LowRank(down, up)
    ranks = {name: len(u.down) for name, u in updates.items()}
    most = max(ranks.values())
    other = {name: rank for name, rank in ranks.items() if rank != most}
    ours = {
        "r": most, "lora_alpha": most, "rank_pattern": other, "alpha_pattern": other, "use_rslora": False,
        "target_modules": _targets(base, updates), "exclude_modules": None, "layers_to_transform": None,
        "layers_pattern": None, "init_lora_weights": True,
    }  # fmt: skip
    return replace(added, updates=updates, config={**added.config, **ours}, folder=None, record={}, copies={})


def split(adapter: Adapter, ranks: Mapping[str, int]) -> tuple[Adapter, Adapter]:
    """Take a joined adapter apart: what it started from, and what was added.

    Args:
        adapter: As `joined` made it.
        ranks: Module to the rank of its first part.

    Raises:
        BadInput: it has no such parts.
    """
    first: dict[str, LowRank] = {}
    rest: dict[str, LowRank] = {}
    for name, update in adapter.updates.items():
        rank = ranks.get(name, 0)
        if not 0 <= rank <= len(update.down):
            raise BadInput(
                f"{name!r} has rank {len(update.down)}, and {rank} of it should be the start's. Train it again"
            )
        if rank:
            first[name] = LowRank(update.down[:rank], update.up[:, :rank], update.scale)
        if rank < len(update.down):
            rest[name] = LowRank(update.down[rank:], update.up[:, rank:], update.scale)
    if missing := sorted(set(ranks) - set(adapter.updates)):
        raise BadInput(f"the adapter has no {missing[0]!r}, which the start had. Train it again")
    return replace(adapter, updates=first), replace(adapter, updates=rest)


def _users(base: nn.Module, weight: Tensor) -> int:
    return sum(
        p is weight for m in base.modules() for p in m.__dict__["_parameters"].values() if isinstance(p, nn.Parameter)
    )


def _targets(base: nn.Module, adapted: Collection[str]) -> list[str]:
    """Names for PEFT that mean these modules and no others."""
    ends = {name.rpartition(".")[2] for name in adapted}
    meant = {n for n, m in base_modules(base).items() if n.rpartition(".")[2] in ends and map_shape(m) is not None}
    return sorted(ends) if meant == set(adapted) else sorted(adapted)
