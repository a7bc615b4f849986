"""Some singular components of each matrix's update, the others dropped."""

from typing import Literal

import torch

from despur.core import Adapter, LowRank, method
from despur.core.errors import BadInput
from despur.core.masks.choose import choose
from despur.merge._changed import changed, from_svd

Keep = Literal["top", "bottom", "random"]


@method(room="merge", paper="arXiv:2606.07596")
def truncate(adapter: Adapter, *, rank: int = 4, keep: Keep = "top", seed: int = 0) -> Adapter:
    """Keep some singular components of each matrix's update and drop the others.

    "Shortcuts in the tail": what a tune learns beside its task is claimed to sit in the small components. It has no notion
    of which behaviour a component carries; "bottom" and "random" are its controls, of equal rank but not of equal size.

    Args:
        adapter: Of plain LoRA.
        rank: Number of components to keep in each matrix.
        keep: The largest, the smallest, or any of them.
        seed: Of the choice at random.

    Returns:
        The adapter with fewer components; `save_adapter` writes it.

    Raises:
        BadInput: less than one component, or another word for `keep`.

    Example:
        >>> one = Adapter({"m": LowRank(torch.eye(3), torch.diag(torch.tensor([3.0, 2.0, 1.0])))}, {"r": 3})
        >>> truncate(one, rank=2, keep="bottom").updates["m"].svd()[1].round(decimals=3)
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
        size = -torch.arange(there)  # largest first, so a component's place is its size
        score = torch.randperm(there, generator=draw).argsort().neg() if keep == "random" else size
        mask = choose({name: -score if keep == "bottom" else score}, count=min(rank, there))[name]
        chosen = mask.nonzero().squeeze(1)
        updates[name] = from_svd(u[:, chosen], s[chosen], vh[chosen])
    return changed(adapter, updates, truncated={"rank": rank, "keep": keep, "seed": seed})
