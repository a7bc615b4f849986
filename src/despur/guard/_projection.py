"""Projections of trainable matrices: a factor is stored once for all of them, and its rows are computed when needed."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import NormGain
from despur.core.errors import SiteNotFound
from despur.core.model.shards import is_spread, like, local, share, sum_shards

BLIND = 1e-7  # a direction that keeps a smaller share than this is not passed on by the norm


class MetDirections:
    """Directions as the maps behind one norm meet them: stored are the directions, once for all norms, a gain, and k x k numbers.

    The orthonormal rows themselves, k d floats for every norm, would come to some percent of a LoRA adapter.

    Args:
        directions: (k, d) of the stream, by device; one table shared by all norms.
        gain: Gain of the norm in between; None where there is none.
        reads: Whether the maps read the stream (else they write it).
        norm: The norm's name, for the error.

    Raises:
        SiteNotFound: the norm passes none of them on.
    """

    def __init__(
        self,
        directions: dict[torch.device, Float[Tensor, "k d"]],
        gain: NormGain | None,
        *,
        reads: bool,
        norm: str | None = None,
    ) -> None:
        self.directions, self.gain, self.reads = directions, gain, reads
        self.device = next(iter(directions))
        rows = self._through_norm()
        if not torch.isfinite(rows).all() or not rows.any():
            raise SiteNotFound(f"norm {norm!r} passes nothing of the factor on")
        u, s, _ = torch.linalg.svd(rows, full_matrices=False)
        keep = s > BLIND * s[0]
        self.mix = (u[:, keep] / s[keep]).T.contiguous()

    def meet(self, device: torch.device) -> None:
        """Move to the device of the weights."""
        if device == self.device:
            return
        self.directions.setdefault(device, self.directions[self.device].to(device))
        self.mix, self.device = self.mix.to(device), device
        self.gain = self.gain and replace(self.gain, gain=self.gain.gain.to(device))

    def rows(self) -> Float[Tensor, "k d"]:
        """Orthonormal rows; in double precision until the last rounding, so that the remaining leak is float32 rounding."""
        return (self.mix @ self._through_norm()).float()

    def _through_norm(self) -> Float[Tensor, "k d"]:
        rows = self.directions[self.device].double()
        if self.gain is None:
            return rows
        return self.gain.show(rows) if self.reads else self.gain.pull_back(rows)


@dataclass
class Projection:
    """One trainable matrix and what it must not change; of a sharded one, this process's part.

    Args:
        source: (k, n) orthonormal rows, in the coordinates of the projected dimension, or what makes them.
        rows: Whether the projected dimension is the matrix's first (else its last).
        anchor: The matrix's own product with the basis at the start; None where it must be zero (LoRA).
        cut: Whether basis and anchor are those of this process's part alone.
    """

    source: MetDirections | Float[Tensor, "k n"]
    rows: bool
    anchor: Tensor | None = None
    cut: bool = False

    @property
    def basis(self) -> Float[Tensor, "k n"]:
        """The rows."""
        return self.source.rows() if isinstance(self.source, MetDirections) else self.source

    def meet(self, weight: Tensor) -> None:
        """Bring basis and anchor to where the matrix lies, cut to this process's part of it."""
        if self.cut == is_spread(weight) and self.source.device == weight.device:
            return
        axis = 0 if self.rows else 1
        whole, part = self.basis, share(self.basis, weight, axis, 1)
        has_double = weight.device.type != "mps"
        if isinstance(self.source, MetDirections) and part.shape == whole.shape and has_double:
            self.source.meet(weight.device)
        else:
            self.source = part
        if self.anchor is not None:
            self.anchor = share(self.anchor, weight, 1 - axis, 1 - axis)
        self.cut = is_spread(weight)

    def keep(self, weight: Tensor) -> None:
        """Store the matrix's present product with the basis, which must not change."""
        self.anchor = self.reading(weight, self.basis).clone()

    def reading(self, weight: Tensor, basis: Float[Tensor, "k n"]) -> Tensor:
        """The part of the matrix along the basis, in float32."""
        w = local(weight).float()
        return sum_shards(basis @ w, weight, 0) if self.rows else sum_shards(w @ basis.T, weight, 1)

    def project(self, weight: Tensor, strength: float = 1.0) -> Tensor:
        """The matrix with its change along the basis removed, in full or in part."""
        self.meet(weight)
        basis, w = self.basis, local(weight).float()
        removed = self.reading(weight, basis)
        if self.anchor is not None:
            removed = removed - self.anchor
        left, right = (basis.T, removed) if self.rows else (removed, basis)
        out = torch.addmm(w, left, right, alpha=-strength)
        return like(out.to(weight.dtype), weight)
