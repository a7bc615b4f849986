"""Leading right singular vectors of a tall stack of rows, without its Gram matrix and without a full decomposition."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

DENSE = 256  # the smaller side up to which everything is decomposed outright
TOLERANCE = 1e-3
_STEPS = 600
_CHUNK = 2**18  # numbers in a chunk of rows: it stays in the cache for both products


def leading(rows: Float[Tensor, "n d"], k: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"]]:
    """Take the largest eigenvalues of rows.T @ rows and their vectors, the same at every call.

    Lanczos with full reorthogonalisation in float64, started from a fixed draw; the products are taken in the
    rows' dtype, one pass over the rows a step, 60 to 150 steps on random rows. It stops when each residual
    ||A v - value v|| is within a thousandth of its value (or of a hundredth of the largest). A value is then off
    by less than that, mostly by its square over the gap to the next, and a direction by its ratio to the gap;
    those that stand out have settled to rounding long before the last does. Small stacks, and any that do not settle in 600
    steps, are decomposed in full. Of values that are equal to all digits it may give one only.

    Args:
        rows: n rows of width d.
        k: How many; all there are where n or d is smaller.

    Returns:
        Values, the largest first, and unit vectors; both float64.
    """
    k = min(k, *rows.shape)
    if min(rows.shape) <= max(DENSE, 8 * k):
        return _dense(rows, k)
    n, d = rows.shape
    rng = torch.Generator().manual_seed(0)
    chunks = rows.split(max(16, _CHUNK // d))
    basis = torch.empty(min(n, d, _STEPS), d, dtype=torch.float64)
    diagonal, beside = [], []
    v = torch.randn(d, generator=rng, dtype=torch.float64)
    for j in range(len(basis)):
        basis[j] = v / v.norm()
        v = _product(chunks, basis[j].to(rows.dtype)).double()
        diagonal.append(float(v @ basis[j]))
        for _ in range(2):  # once leaves rounding, and what has converged comes back as a copy of itself
            v -= (basis[: j + 1] @ v) @ basis[: j + 1]
        beside.append(float(v.norm()))
        if beside[-1] <= 1e-10 * max(diagonal):  # a closed subspace: go on in what is left
            beside[-1] = 0.0
            v = torch.randn(d, generator=rng, dtype=torch.float64)
            v -= (basis[: j + 1] @ v) @ basis[: j + 1]
        if j >= 2 * k + 20 and j % 8 == 0:
            values, mixes = eigh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(j + 1 - k, j))
            if np.all(np.abs(mixes[-1]) * beside[-1] <= TOLERANCE * np.maximum(values, values[-1] / 100)):
                vectors = torch.from_numpy(mixes[:, ::-1].T.copy()) @ basis[: j + 1]
                return torch.from_numpy(values[::-1].copy()), _upright(vectors)
    return _dense(rows, k)


def _product(chunks: tuple[Tensor, ...], v: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    total = torch.zeros_like(v)
    for part in chunks:
        total.addmv_(part.T, part @ v)
    return total


def _dense(rows: Float[Tensor, "n d"], k: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"]]:
    _, values, vectors = torch.linalg.svd(rows.double(), full_matrices=False)
    return values[:k] ** 2, _upright(vectors[:k])


def _upright(vectors: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
    """Unit vectors whose largest coordinate is positive: a sign would else hang on how memory is aligned."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign() / vectors.norm(dim=1, keepdim=True)
