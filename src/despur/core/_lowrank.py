"""Algebra of low-rank updates W - W0 = scale * up @ down, never multiplied out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LowRank:
    """One adapted map's update: `scale * up @ down`, (d_out, d_in) of rank at most r.

    Everything is computed on the CPU in float64, whatever the factors' dtype and device: the factors are
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
        dtype = torch.float64 if self.up.dtype == torch.float64 else torch.float32
        return (q_up @ u).to(dtype), s.to(dtype), (vh @ q_down.T).to(dtype)

    def writes(self) -> Float[Tensor, "k d_out"]:
        """Rows sigma_i u_i: what is written, orthogonal; their Gram sum is the update times its transpose."""
        u, s, _ = self.svd()
        return (u * s).T

    def reads(self) -> Float[Tensor, "k d_in"]:
        """Rows sigma_i v_i: what is read, orthogonal; their Gram sum is the transpose times the update."""
        _, s, vh = self.svd()
        return s[:, None] * vh

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
        # through the two small triangles: a trace of Gram matrices would lose half the digits
        r_left = torch.linalg.qr(left, mode="r").R
        r_right = torch.linalg.qr(right.T, mode="r").R
        return abs(self.scale) * float((r_left @ r_right.T).norm())


def _exact(tensor: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    return tensor.detach().to("cpu", torch.float64)
