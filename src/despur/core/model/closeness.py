"""How far two tensors are from each other."""

import torch
from torch import Tensor, nn


def least_squares(columns: Tensor, total: Tensor, tolerance: float) -> Tensor:
    """The shortest solution for each token; columns that differ by rounding alone count as one."""
    left, right = columns.double().cpu(), total.double().cpu()[..., None]
    return torch.linalg.lstsq(left, right, rcond=tolerance, driver="gelsd").solution.to(columns.device)


def alike(a: Tensor, b: Tensor) -> float:
    """Mean size of the correlation of two tensors' rows: near one for a norm with any gain and bias, near none for what is mixed."""
    a, b = (nn.functional.normalize((x - x.mean(1, keepdim=True)).double(), dim=1) for x in (a, b))
    return float((a * b).sum(1).abs().mean())


def off_parallel(z: Tensor, of: Tensor) -> float:
    """How far a row of one is at most from a multiple of a row of the other, as 1 - |cosine|: experts get some tokens, at times weighed."""
    if z.shape[1] != of.shape[1] or not len(z):
        return 1.0
    a, b = (nn.functional.normalize(x.double(), dim=1) for x in (z, of))
    cosines = (a * b).sum(1).abs() if z.shape == of.shape else (a @ b.T).abs().amax(1)
    return float((1 - cosines).max())


def parallel(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether each row of one is a multiple of that row of the other."""
    a, b = (nn.functional.normalize(x.double(), dim=1) for x in (a, b))
    return bool(((1 - (a * b).sum(1).abs()) < tolerance).all())


def same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether two tensors are alike, by the norm of their difference."""
    return a.shape == b.shape and bool((a - b).norm() <= tolerance * b.norm())
