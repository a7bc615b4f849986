"""The whole update, multiplied."""

from dataclasses import replace

from despur.core import Adapter, method
from despur.merge._changed import changed


@method(room="merge", paper="the baseline of every edit of weights")
def scale(adapter: Adapter, *, by: float = 0.5) -> Adapter:
    """Multiply the whole update: the baseline that every other edit must beat.

    It trades task for drift along one line; an edit that separates the parts of an update must lie above it. Costs nothing.

        W - W0 <- by (W - W0)

    Args:
        adapter: Of plain LoRA.
        by: Factor; 1 leaves the adapter as it is, 0 would be the base.

    Returns:
        The adapter with another scale; `save_adapter` writes it.

    Example:
        >>> from despur.core import LowRank
        >>> one = Adapter({"m": LowRank(torch.ones(1, 3), torch.ones(2, 1))}, {"r": 1})
        >>> round(scale(one, by=0.5).norm() / one.norm(), 6)
        0.5

    Source: wise-ft and the like, arXiv:2109.01903, on the adapter alone.
    Differs: nothing known.
    Limits: treats all parts of the update alike.
    """
    return changed(adapter, {n: replace(u, scale=u.scale * by) for n, u in adapter.updates.items()}, scale=by)
