"""Leading right singular vectors of a tall stack of rows, without its Gram matrix and without a full decomposition."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

DENSE = 256  # the smaller side up to which everything is decomposed outright
TOLERANCE = 1e-3
_RESTARTS = 100
_CHUNK = 2**18  # numbers in a chunk of rows: it stays in the cache for both products


def leading(rows: Float[Tensor, "n d"], k: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"]]:
    """Take the largest eigenvalues of rows.T @ rows and their vectors, the same at every call.

    ARPACK (`scipy.sparse.linalg.eigsh`) in float64, started from a fixed draw; the products are taken in the rows' dtype,
    one pass over the rows each, 40 to 170 of them. It iterates on rows.T @ rows + floor, the floor being the mean of all
    eigenvalues and a hundredth of the largest: what is noise beside them need not settle. It stops when each residual
    ||A v - value v|| is within half a thousandth of value + floor. A value is then off by less than that, mostly by its
    square over the gap to the next, and a direction by its ratio to the gap; those that stand out settle to rounding long
    before the last does. Small stacks, and any that do not settle, are decomposed in full. Of values that are equal to all
    digits it may give one only.

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
    chunks = rows.split(max(16, _CHUNK // d))
    start = torch.randn(d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    floor = sum(float(part.double().square().sum()) for part in chunks) / min(n, d) + _largest(chunks, start) / 100

    def product(v: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(v.ravel())
        return (_product(chunks, x.to(rows.dtype)).double() + floor * x).numpy()

    operator = LinearOperator((d, d), matvec=product, dtype=np.float64)  # type: ignore[call-arg]
    try:
        values, vectors = eigsh(
            operator, k, which="LA", v0=start.numpy(), ncv=2 * k + 20, maxiter=_RESTARTS, rng=0,
            tol=TOLERANCE / 2,  # type: ignore[arg-type]  # its stub says int
        )  # fmt: skip
    except ArpackError:  # it did not settle, or there is nothing in the rows
        return _dense(rows, k)
    order = np.argsort(-values)
    leaders = torch.from_numpy(vectors.T[order].copy())
    return torch.from_numpy(values[order] - floor).clamp(min=0), _upright(leaders)


def _largest(chunks: tuple[Tensor, ...], v: Float[Tensor, " d"]) -> float:
    """A lower bound of the largest eigenvalue, from three steps of the power method."""
    size = 0.0
    for _ in range(3):
        v = _product(chunks, (v / v.norm().clamp(min=1e-300)).to(chunks[0].dtype)).double()
        size = float(v.norm())
    return size


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
