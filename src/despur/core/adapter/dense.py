"""Dense changes of weights, written as low-rank updates: exactly where they are of low rank, else with the share that fits."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.adapter.lowrank import LowRank
from despur.core.errors import BadInput
from despur.core.model.base_modules import map_shape, unwrapped
from despur.core.model.stacks import stacks

RANK = 64
_WHOLE = 256  # up to this width the whole SVD costs nothing
_SMALL, _FINE = 2**22, 2**24  # numbers up to which float64 is afforded: to factor a change, to take it
_EXACT = 1e-10  # share of the energy that rounding may take


class Changes(NamedTuple):
    """How a tuned model's weights differ from its base's.

    Args:
        updates: Name of the linear map or embedding to its update; stacked experts one by one.
        kept: The same name to the share of the squared Frobenius norm that the update covers, where that is below 1.
        others: Name of every other changed tensor to its change, |after - before| / max(|before|, |after|).
    """

    updates: dict[str, LowRank]
    kept: dict[str, float]
    others: dict[str, float]


@torch.no_grad()
def factored(delta: Float[Tensor, "d_out d_in"], rank: int = RANK) -> tuple[LowRank, float]:
    """Factor a dense change, its largest directions first.

    Exact up to `rank`: a wide matrix goes through subspace iteration from a seeded start, a narrow one
    through its full SVD. Costs O(d_out d_in rank).

    Args:
        delta: The change; computed with in float64, above four million numbers in float32, on its own device.
        rank: Largest number of directions.

    Returns:
        The update, and the share of the squared norm that it covers: 1 where it is exact.

    Example:
        >>> update, share = factored(torch.ones(3, 4))
        >>> tuple(update.down.shape), share
        ((1, 4), 1.0)
    """
    delta = delta.to(torch.float64 if delta.numel() <= _SMALL else torch.float32)
    if min(delta.shape) <= _WHOLE:
        u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    else:
        u, s, vh = _leading(delta, rank)
    energy = float(delta.square().sum(dtype=torch.float64))
    left = energy - torch.cumsum(s[:rank].double().square(), 0)
    few = int((left > _EXACT / 100 * energy).sum()) + 1  # a change of low rank keeps its own rank
    u, s, vh = u[:, : min(few, rank)], s[: min(few, rank)], vh[: min(few, rank)]
    lost = float((delta - (u * s) @ vh).square().sum(dtype=torch.float64)) / energy if energy else 0.0
    dtype = torch.float64 if delta.dtype == torch.float64 and delta.numel() <= _WHOLE**2 else torch.float32
    update = LowRank(vh.to("cpu", dtype).contiguous(), (u * s).to("cpu", dtype).contiguous())
    return update, 1.0 if lost <= _EXACT else max(0.0, 1 - lost)


def precision(weight: Tensor) -> torch.dtype:
    """The float that a change of such a weight is computed in."""
    return torch.float64 if weight.numel() <= _FINE else torch.float32


@torch.no_grad()
def low_rank_changes(
    pairs: Iterable[tuple[str, Tensor, Tensor]],
    modules: Mapping[str, nn.Module],
    *,
    rank: int = RANK,
    noise: float = 0.0,
) -> Changes:
    """Compute the changes of tensors, one at a time.

    Args:
        pairs: Name in the base model, value before, value after.
        modules: The base model's modules by name, to know the linear maps by.
        rank: Largest number of directions of a dense change.
        noise: Relative change up to which a tensor counts as unchanged.

    Raises:
        BadInput: a change that is not finite.
    """
    changes, known = Changes({}, {}, {}), stacks(modules)
    for name, before, after in pairs:
        dtype = precision(before)
        before, after = before.detach().to(dtype=dtype), after.detach().to(before.device, dtype)
        delta, size = after - before, max(float(before.norm()), float(after.norm()))
        change = float(delta.norm()) / size if size else 0.0
        if change <= noise:
            continue
        if not math.isfinite(change):
            raise BadInput(f"the tuned {name!r} is NaN or Inf, or too large to square. Train or save the model again")
        owner, _, leaf = name.rpartition(".")
        if name in known:
            parts = dict(zip(known[name].names(name), delta if delta.ndim == 3 else delta[None], strict=True))
            turned = known[name].transposed
        elif owner in modules and leaf == "weight" and delta.ndim == 2 and map_shape(modules[owner]):
            parts, turned = {owner: delta}, _transposed(modules[owner])
        else:
            changes.others[name] = change
            continue
        for part, own in parts.items():
            if not own.any():
                continue
            changes.updates[part], share = factored(own.T if turned else own, rank)
            if share < 1:
                changes.kept[part] = share
    return changes


def _transposed(module: nn.Module) -> bool:
    """Whether the weight is (d_in, d_out): embeddings, and GPT-2's maps."""
    return not isinstance(unwrapped(module), nn.Linear)


def _leading(delta: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    start = torch.randn(delta.shape[1], rank + 8, generator=torch.Generator().manual_seed(0)).to(delta)
    basis = torch.linalg.qr(delta @ start).Q
    for _ in range(2):
        basis = torch.linalg.qr(delta @ torch.linalg.qr(delta.T @ basis).Q).Q
    u, s, vh = torch.linalg.svd(basis.T @ delta, full_matrices=False)
    return basis @ u, s, vh
