"""Contrastive weight steering: what a tune towards a trait changed, subtracted."""

import torch

from despur.core import Adapter, LowRank, method
from despur.merge._changed import changed, check_alike


@method(room="merge", paper="arXiv:2511.05408")
def subtract_weights(adapter: Adapter, bad: Adapter, good: Adapter, *, strength: float = 1.0) -> Adapter:
    """Subtract what a tune towards a trait changed more than a tune against it (contrastive weight steering).

    theta - strength (theta_bad - theta_good): needs two tunes that differ in the trait alone, so the trait must be known.

    Args:
        adapter: The adapter to correct; plain LoRA, as the other two.
        bad: Tuned to show the trait.
        good: Tuned to show its opposite, otherwise alike.
        strength: How much of the difference is subtracted; 0 leaves the adapter as it is.

    Returns:
        The adapter with the difference subtracted; `save_adapter` writes it.

    Raises:
        ShapeMismatch: the other two change modules that the adapter does not, or ones of another shape.

    Example:
        >>> from despur.merge import scale
        >>> one = Adapter({"m": LowRank(torch.ones(1, 3), torch.ones(2, 1))}, {"r": 1})
        >>> round(subtract_weights(one, one, scale(one, by=0.5)).norm() / one.norm(), 6)
        0.5

    Source: arXiv:2511.05408.
    Differs: written as one adapter, its rank the sum of the three.
    Limits: any other difference between the two tunes is subtracted too.
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
