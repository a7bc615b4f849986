"""SafeLoRA: project what a finished adapter writes onto what an alignment wrote."""

from despur.core import Adapter, LowRank, method
from despur.core.errors import BadInput
from despur.merge._changed import changed, check_alike


@method(room="merge", paper="Hsu et al. 2024 (Safe LoRA), arXiv:2405.16833")
def safe_lora(
    adapter: Adapter, aligned: Adapter, *, threshold: float = 0.5, share: float | None = None, exact: bool = False
) -> Adapter:
    """Project what an adapter writes onto what an alignment wrote, in the matrices where the two disagree.

    V is what the alignment changed in a matrix; where the update and its projection point apart, the projection takes
    its place. A base of our own has no unaligned version, so a tune on benign rows stands for the alignment.

        C = V Vᵀ / ||V||_F   as published, no projector: C² is not C, and it shrinks with V's size
        C = U Uᵀ             with `exact`, U the directions that V writes
        B <- C B             where cos(C B A, B A) <= threshold, or in the `share` of matrices of the smallest cosine

    Args:
        adapter: The adapter to correct; plain LoRA.
        aligned: What the alignment changed, on the same base.
        threshold: Cosine at or below which a matrix is projected.
        share: Project this share of the matrices instead, in [0, 1].
        exact: Use the orthogonal projector.

    Returns:
        The adapter with some matrices projected; `save_adapter` writes it.

    Raises:
        BadInput: threshold or share out of range.
        ShapeMismatch: `aligned` lacks a matrix that the adapter changes, or has another shape.

    Example:
        >>> one = Adapter({"m": LowRank(torch.ones(1, 3), torch.eye(2, 1))}, {"r": 1})
        >>> other = Adapter({"m": LowRank(torch.ones(1, 3), torch.tensor([[0.0], [1.0]]))}, {"r": 1})
        >>> safe_lora(one, other, exact=True).norm()
        0.0

    Source: Hsu et al. 2024, NeurIPS, and IBM/SafeLoRA (10 layers or threshold 0.5).
    Differs: W_aligned - W_base is a low-rank update of ours; `exact` is ours.
    Limits: as good as what stands for the alignment; matrices are judged one by one.
    """
    if not -1 <= threshold <= 1 or (share is not None and not 0 <= share <= 1):
        raise BadInput(f"threshold={threshold}, share={share}; a cosine lies in [-1, 1], a share in [0, 1]")
    check_alike(aligned, adapter)
    projected: dict[str, LowRank] = {}
    cosines: dict[str, float] = {}
    for name, update in adapter.updates.items():
        u, s, _ = aligned.updates[name].svd()
        gain = (s > 1e-6 * s[0]).to(s) if exact else s.square() / s.norm().clamp(min=1e-30)
        up = u @ (gain[:, None] * (u.T @ update.up.float().cpu()))
        projected[name] = LowRank(update.down, up, update.scale)
        cosines[name] = _cosine(projected[name], update)
    order = sorted(cosines, key=lambda n: cosines[n])
    chosen = [n for n in order if cosines[n] <= threshold] if share is None else order[: round(share * len(order))]
    return changed(adapter, {**adapter.updates, **{n: projected[n] for n in chosen}}, projected=chosen)


def _cosine(one: LowRank, two: LowRank) -> float:
    size = one.norm() * two.norm()
    gram = (one.up.double().T @ two.up.double().cpu()) * (one.down.double() @ two.down.double().T).cpu()
    return float(one.scale * two.scale * gram.sum() / size) if size else 0.0
