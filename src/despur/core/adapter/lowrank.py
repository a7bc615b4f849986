"""Algebra of low-rank updates W - W0 = scale * up @ down, never multiplied out."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Core(NamedTuple):
    """What an update's singular value decomposition needs beside its two factors: r numbers squared.

    Args:
        values: Singular values, the largest first; float64.
        reads: `reads @ down` are the rows sigma_i v_i.
        writes: `writes @ up.T` are the rows sigma_i u_i.
    """

    values: Float[Tensor, " k"]
    reads: Float[Tensor, "k r"]
    writes: Float[Tensor, "k r"]


@dataclass(frozen=True)
class LowRank:
    """One adapted map's update: `scale * up @ down`, (d_out, d_in) of rank at most r.

    Everything small is computed on the CPU in float64, whatever the factors' dtype and device: the factors are
    thin, and a figure that ought to be zero must come out as zero.

    Args:
        down: (r, d_in), LoRA's A: what the update reads.
        up: (d_out, r), LoRA's B: what it writes.
        scale: LoRA's alpha / r (alpha / sqrt(r) for rsLoRA).
    """

    down: Float[Tensor, "r d_in"]
    up: Float[Tensor, "d_out r"]
    scale: float = 1.0

    def svd(self) -> tuple[Float[Tensor, "d_out k"], Float[Tensor, " k"], Float[Tensor, "k d_in"]]:
        """Exact thin SVD by QR of both factors and their small core; O((d_in + d_out) r^2).

        Returns:
            u, s, vh with k = min(r, d_in, d_out), the largest first; on the CPU, in float64 for float64
            factors and float32 for all others.

        Example:
            >>> u, s, vh = LowRank(torch.eye(2, 5), torch.eye(4, 2), scale=3.0).svd()
            >>> s
            tensor([3., 3.])
        """
        q_up, r_up = torch.linalg.qr(_exact(self.up))
        q_down, r_down = torch.linalg.qr(_exact(self.down).T)
        u, s, vh = torch.linalg.svd(self.scale * r_up @ r_down.T, full_matrices=False)
        dtype = _row_dtype(self.up)
        return (q_up @ u).to(dtype), s.to(dtype), (vh @ q_down.T).to(dtype)

    def core(self) -> Core:
        """Take the decomposition without its long vectors: all singular values, and how to make rows of them.

        Costs two Gram matrices, O((d_in + d_out) r²), about a tenth of `svd`. A spectrum is `core().values`.
        For float32 and shorter factors its rounding is 1e-8 of ||up|| ||down||, below that of the factors;
        float64 factors keep all their digits.

        Example:
            >>> LowRank(torch.eye(2, 5), torch.eye(4, 2), scale=3.0).core().values
            tensor([3., 3.], dtype=torch.float64)
        """
        up, down = _root(self.up), _root(self.down.T)
        u, s, vh = torch.linalg.svd(self.scale * up @ down.T, full_matrices=False)
        k = min(self.up.shape[0], *self.down.shape)
        return Core(s[:k], self.scale * u.T[:k] @ up, self.scale * vh[:k] @ down)

    def writes(self, core: Core | None = None) -> Float[Tensor, "k d_out"]:
        """Rows sigma_i u_i: what is written, orthogonal; their Gram sum is the update times its transpose."""
        up = self.up.detach().to("cpu", _row_dtype(self.up))
        return (core or self.core()).writes.to(up.dtype) @ up.T

    def reads(self, core: Core | None = None) -> Float[Tensor, "k d_in"]:
        """Rows sigma_i v_i: what is read, orthogonal; their Gram sum is the transpose times the update."""
        down = self.down.detach().to("cpu", _row_dtype(self.up))
        return (core or self.core()).reads.to(down.dtype) @ down

    def norm(self) -> float:
        """Frobenius norm of the update; O((d_in + d_out) r^2)."""
        return self._norm(_exact(self.up), _exact(self.down))

    def read_norm(self, basis: Float[Tensor, "n d_in"]) -> float:
        """Frobenius norm of update @ basis.T: how much the update reads the directions."""
        return self._norm(_exact(self.up), _exact(self.down) @ _exact(basis).T)

    def write_norm(self, basis: Float[Tensor, "n d_out"]) -> float:
        """Frobenius norm of basis @ update: how much the update writes the directions."""
        return self._norm(_exact(basis) @ _exact(self.up), _exact(self.down))

    def _norm(self, left: Float[Tensor, "m r"], right: Float[Tensor, "r n"]) -> float:
        # through the left one's triangle: a trace of Gram matrices would lose half the digits
        return abs(self.scale) * float((torch.linalg.qr(left, mode="r").R @ right).norm())


def _exact(tensor: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    return tensor.detach().to("cpu", torch.float64)


def _row_dtype(factor: Float[Tensor, "m n"]) -> torch.dtype:
    return torch.float64 if factor.dtype == torch.float64 else torch.float32


def _root(tall: Float[Tensor, "d r"]) -> Float[Tensor, "n r"]:
    """R with R.T @ R == tall.T @ tall."""
    exact = _exact(tall)
    if tall.dtype == torch.float64:
        return torch.linalg.qr(exact, mode="r").R
    values, vectors = torch.linalg.eigh(exact.T @ exact)  # squares: half the digits go, a float32 has no more
    return values.clamp_min(0).sqrt()[:, None] * vectors.T
