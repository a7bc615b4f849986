"""From scores to a mask: the highest ones, within a budget of all layers or of each."""

from collections.abc import Mapping

import torch
from torch import Tensor

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.masks.formats import Formats, Free, Group, NofM, Tensors, blocks, formats_of, same_names, units

FREE = Free()


def magnitude(weights: Tensors) -> dict[str, Tensor]:
    """Score weights by their size, the plainest score; negate it to choose the smallest."""
    return {n: w.detach().abs() for n, w in weights.items()}


def random_scores(weights: Tensors, seed: int = 0) -> dict[str, Tensor]:
    """Score at random: the control that every other score must beat; the same on every device."""
    rng = torch.Generator().manual_seed(seed)
    return {n: torch.rand(w.shape, generator=rng, dtype=torch.float64).to(w.device) for n, w in weights.items()}


@torch.no_grad()
def choose(
    scores: Tensors,
    form: Formats = FREE,
    *,
    share: float | None = None,
    count: int | Mapping[str, int] | None = None,
    each: bool = False,
    within: Tensors | None = None,
) -> dict[str, Tensor]:
    """Choose the units of the highest scores: single weights, or groups by the sum of their weights' scores.

    Of equal scores the first wins: in the order of the tensors, then along a tensor. So the same scores give the same mask
    on every device. Groups of different size compare by their sums; divide the scores for a mean.

    Args:
        scores: A number for each weight, by tensor.
        form: One format for all tensors, or one a tensor. N of M is its own budget.
        share: Units to choose, in [0, 1]; rounded down.
        count: The same as a number; or a number a tensor, where joined groups stand under their word.
        each: The budget is that of each tensor or joined group, not of all together.
        within: Choose among these alone, such as what a former mask chose; of a group all weights must be there.

    Returns:
        Name to mask, True where a weight is chosen.

    Raises:
        BadInput: no budget or two, one that cannot be met, or scores that are NaN.
        ShapeMismatch: a format, budget or former mask that does not fit the scores.

    Example:
        >>> choose({"w": torch.tensor([0.1, 0.4, 0.3, 0.4])}, share=0.5)["w"]
        tensor([False,  True, False,  True])
    """
    forms = formats_of(scores, form)
    if within is not None:
        same_names(scores, within, "former mask")
    masks: dict[str, Tensor] = {}
    words = {n: (f.joined or n) if isinstance(f, Group) else n for n, f in forms.items() if not isinstance(f, NofM)}
    values: dict[str, Tensor] = {}
    free: dict[str, Tensor] = {}
    for name, score in scores.items():
        if score.isnan().any():
            raise BadInput(f"the scores of {name!r} contain NaN. Give a number for each weight")
        inside = torch.ones_like(score, dtype=torch.bool) if within is None else within[name] != 0
        if inside.shape != score.shape:
            raise ShapeMismatch(f"{name!r} has scores {tuple(score.shape)} and a former mask {tuple(inside.shape)}")
        kind = forms[name]
        if isinstance(kind, NofM):
            masks[name] = _n_of_m(name, score, inside, kind)
            continue
        parts, word = units(name, _floats(score), kind), words[name]
        sums, may = parts.squeeze(1) if isinstance(kind, Free) else parts.double().sum(1), units(name, inside, kind)
        if word in values and len(values[word]) != len(sums):
            raise ShapeMismatch(f"{name!r} has {len(sums)} groups, what it is joined with {len(values[word])}")
        values[word] = values[word] + sums.to(values[word].device) if word in values else sums
        free[word] = free[word] & may.all(1).to(free[word].device) if word in free else may.all(1)
    chosen = _within_budget(values, free, share, count, each)
    for name, word in words.items():
        kind, score = forms[name], scores[name]
        picked = chosen[word].to(score.device)
        if isinstance(kind, Group):
            sizes = [1] * score.ndim
            sizes[kind.dim] = -1
            masks[name] = picked.repeat_interleave(kind.size).reshape(sizes).expand(score.shape).contiguous()
        else:
            masks[name] = picked.reshape(score.shape)
    return {n: masks[n] for n in scores}


def _within_budget(
    values: Tensors, free: Tensors, share: float | None, count: int | Mapping[str, int] | None, each: bool
) -> dict[str, Tensor]:
    if (share is None) == (count is None) if values else (share is not None or count is not None):
        raise BadInput(f"share={share}, count={count}; give one of the two, and with N of M alone neither")
    if share is not None and not 0 <= share <= 1:
        raise BadInput(f"share={share}; a share lies in [0, 1]")
    if not values:
        return {}
    if isinstance(count, Mapping):
        same_names(values, count, "budget")
        return {w: _top(v, free[w], count[w], w) for w, v in values.items()}

    def budget(size: int) -> int:
        return int(share * size + 1e-9) if share is not None else int(count or 0)

    if each:
        return {w: _top(v, free[w], budget(len(v)), w) for w, v in values.items()}
    device = next(iter(values.values())).device
    flat, may = (torch.cat([t.to(device) for t in some.values()]) for some in (values, free))
    parts = _top(flat, may, budget(len(flat)), "all tensors").split([len(v) for v in values.values()])
    return dict(zip(values, parts, strict=True))


def _top(values: Tensor, free: Tensor, count: int, where: str) -> Tensor:
    """The highest `count` of the free values; of equal ones the first."""
    there = values[free]
    if not 0 <= count <= len(there):
        raise BadInput(
            f"{count} units are to be chosen in {where}, and {len(there)} are free. Give a budget within them"
        )
    chosen = torch.zeros_like(free)
    if count:
        least = there.kthvalue(len(there) - count + 1).values
        above, level = there > least, there == least
        chosen[free] = above | (level & (level.cumsum(0) <= count - above.sum()))
    return chosen


def _n_of_m(name: str, score: Tensor, inside: Tensor, form: NofM) -> Tensor:
    rows, may = blocks(name, _floats(score), form), blocks(name, inside, form)
    order = rows.masked_fill(~may, -torch.inf).argsort(dim=1, descending=True, stable=True)
    best = torch.zeros_like(may).scatter_(1, order[:, : form.n], True) & may
    moved = score.movedim(form.dim, -1)
    return best.reshape(moved.shape).movedim(-1, form.dim).contiguous()


def _floats(score: Tensor) -> Tensor:
    return score if score.dtype in (torch.float32, torch.float64) else score.float()
