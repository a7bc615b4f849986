"""What can be done to a finished adapter: cheap edits that need no training, as baselines of the guards."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from despur.core import Adapter, LowRank, new_folder, write_json
from despur.core.adapter.peft_config import CONFIG
from despur.core.adapter.peft_folder import WEIGHTS
from despur.core.errors import BadInput, ShapeMismatch, nearest

Keep = Literal["top", "bottom", "random"]


def save_adapter(adapter: Adapter, folder: Path | str) -> Path:
    """Write a plain adapter as PEFT's own folder, which loads without despur.

    Args:
        adapter: Of plain LoRA; its copies of base weights are left out, as they are the base's own.
        folder: Where; an older one that despur wrote is replaced.

    Returns:
        The folder.

    Raises:
        BadInput: the adapter is no plain LoRA, or the folder cannot be written.

    Example:
        >>> # save_adapter(truncate(Adapter.read("adapter/"), 2), "truncated/")
    """
    _check_plain(adapter)
    embeddings = _embeddings(adapter)
    tensors: dict[str, Tensor] = {}
    for module, update in adapter.updates.items():
        for letter, factor in (("A", update.down), ("B", update.up)):
            form = f"lora_embedding_{letter}" if module in embeddings else f"lora_{letter}.weight"
            tensors[f"base_model.model.{module}.{form}"] = factor.detach().float().cpu().contiguous()
    with new_folder(folder) as draft:
        save_file(tensors, draft / WEIGHTS, metadata={"format": "pt"})
        (draft / CONFIG).write_text(json.dumps(dict(adapter.config), indent=1, default=sorted) + "\n", encoding="utf-8")
        write_json(draft / "despur.json", dict(adapter.record))
    return Path(folder)


def scale(adapter: Adapter, factor: float) -> Adapter:
    """Multiply the whole update: the baseline that every other edit must beat.

    Args:
        adapter: Of plain LoRA.
        factor: 1 leaves it as it is, 0 would be the base.

    Example:
        >>> one = Adapter({"m": LowRank(torch.ones(1, 3), torch.ones(2, 1))}, {"r": 1})
        >>> round(scale(one, 0.5).norm() / one.norm(), 6)
        0.5
    """
    return changed(adapter, {n: replace(u, scale=u.scale * factor) for n, u in adapter.updates.items()}, scale=factor)


def truncate(adapter: Adapter, rank: int, *, keep: Keep = "top", seed: int = 0) -> Adapter:
    """Keep some singular components of each matrix's update and drop the others.

    "Shortcuts in the tail": what a tune learns beside its task is said to sit in the small components. It has no notion
    of which behaviour a component carries; "bottom" and "random" are its controls, of equal rank but not of equal size.

    Args:
        adapter: Of plain LoRA.
        rank: Components that are kept in each matrix.
        keep: The largest, the smallest, or any of them.
        seed: Of the choice at random.

    Raises:
        BadInput: less than one component, or another word for `keep`.

    Example:
        >>> one = Adapter({"m": LowRank(torch.eye(3), torch.diag(torch.tensor([3.0, 2.0, 1.0])))}, {"r": 3})
        >>> truncate(one, 2, keep="bottom").updates["m"].svd()[1].round(decimals=3)
        tensor([2., 1.])

    Source: arXiv:2606.07596, abstract only.
    Differs: on LoRA's update in place of W_tuned - W_base of a full fine-tune.
    Limits: an adapter of rank 8 has few components to drop, and in a drift that the task itself brings they are the task's.
    """
    if rank < 1 or keep not in ("top", "bottom", "random"):
        raise BadInput(f"rank={rank}, keep={keep!r}; at least one component, and 'top', 'bottom' or 'random'")
    draw = torch.Generator().manual_seed(seed)
    updates: dict[str, LowRank] = {}
    for name, update in adapter.updates.items():
        u, s, vh = update.svd()
        there = int((s > 1e-7 * s[0]).sum()) or 1  # the bottom ones of those that are there
        order = torch.randperm(there, generator=draw) if keep == "random" else torch.arange(there)
        chosen = (order.flip(0) if keep == "bottom" else order)[:rank].sort().values
        updates[name] = from_svd(u[:, chosen], s[chosen], vh[chosen])
    return changed(adapter, updates, truncated={"rank": rank, "keep": keep, "seed": seed})


def subtract_weights(adapter: Adapter, bad: Adapter, good: Adapter, *, strength: float = 1.0) -> Adapter:
    """Take away what a tune towards a trait changed more than a tune against it (contrastive weight steering).

    theta - strength (theta_bad - theta_good): needs two tunes that differ in the trait alone, so the trait must be known.

    Args:
        adapter: To be mended; of plain LoRA, as the other two.
        bad: Tuned to show the trait.
        good: Tuned to show its opposite, otherwise alike.
        strength: How much of the difference is taken away; 0 leaves the adapter as it is.

    Raises:
        ShapeMismatch: the other two change modules that the adapter does not, or ones of another shape.

    Example:
        >>> one = Adapter({"m": LowRank(torch.ones(1, 3), torch.ones(2, 1))}, {"r": 1})
        >>> round(subtract_weights(one, one, scale(one, 0.5)).norm() / one.norm(), 6)
        0.5

    Source: arXiv:2511.05408.
    Differs: written as one adapter, its rank the sum of the three.
    """
    for other in (bad, good):
        check_alike(adapter, other)
    updates: dict[str, LowRank] = {}
    for name, update in adapter.updates.items():
        terms = [
            (update, 1.0),
            *((a.updates[name], k) for a, k in ((bad, -strength), (good, strength)) if name in a.updates),
        ]
        updates[name] = LowRank(
            torch.cat([u.down.float() for u, _ in terms]), torch.cat([k * u.scale * u.up.float() for u, k in terms], 1)
        )
    return changed(adapter, updates, subtracted=strength) if strength else adapter


def changed(adapter: Adapter, updates: Mapping[str, LowRank], **said: Any) -> Adapter:
    """The adapter with other updates, all of one rank and of scale 1, and a configuration that says so.

    Raises:
        BadInput: the adapter is no plain LoRA.
    """
    _check_plain(adapter)
    rank = max(u.down.shape[0] for u in updates.values())
    even: dict[str, LowRank] = {}
    for name, u in updates.items():
        spare = rank - u.down.shape[0]
        down, up = u.down.detach().float().cpu(), u.scale * u.up.detach().float().cpu()
        even[name] = LowRank(torch.nn.functional.pad(down, (0, 0, 0, spare)), torch.nn.functional.pad(up, (0, spare)))
    ours = {"r": rank, "lora_alpha": rank, "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    record = {**adapter.record, "after": [*adapter.record.get("after", []), said]}
    return replace(adapter, updates=even, config={**adapter.config, **ours}, record=record)


def from_svd(u: Tensor, s: Tensor, vh: Tensor) -> LowRank:
    """An update out of singular triples, their size shared by both factors."""
    root = s.clamp(min=0).sqrt()
    return LowRank(root[:, None] * vh, u * root)


def _check_plain(adapter: Adapter) -> None:
    if adapter.kind != "LORA" or adapter.kept or adapter.others:
        raise BadInput(
            f"the adapter (peft_type={adapter.kind!r}) changes more than LoRA matrices hold, so it cannot be written as plain "
            "LoRA. Give what Adapter.read takes"
        )


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
                f"{name!r} has shape {sizes[0]} in one adapter, {sizes[1]} in the other. Give one base's"
            )


def _embeddings(adapter: Adapter) -> set[str]:
    """Modules whose LoRA is one of embeddings, which PEFT names in its own way."""
    path = adapter.folder and adapter.folder / WEIGHTS
    if not path or not path.exists():
        return set()
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    return {n.removeprefix("base_model.model.").split(".lora_embedding_")[0] for n in names if ".lora_embedding_" in n}
