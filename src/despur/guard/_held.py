"""What one trainable matrix must leave alone, kept small: a factor once for all that meet it, its rows made when they are needed."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import NormGain
from despur.core.errors import SiteNotFound
from despur.core.model.shards import is_spread, like, local, share, sum_shards

BLIND = 1e-7  # shown in a smaller part than this, a direction is one that the norm does not pass on


class Seen:
    """Directions as the maps behind one norm meet them. Kept are the directions, once for all norms, a gain, and k x k numbers.

    The orthonormal rows themselves, k d floats for every norm, would come to some percent of a LoRA adapter.

    Args:
        directions: (k, d) of the stream, by device; whoever meets them shares this one table.
        gain: Of the norm in between; None where there is none.
        reads: Whether the maps read the stream (else they write it).
        norm: The norm's name, for what is told.

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
        shown = self._shown()
        if not torch.isfinite(shown).all() or not shown.any():
            raise SiteNotFound(f"norm {norm!r} shows nothing of the factor")
        u, s, _ = torch.linalg.svd(shown, full_matrices=False)
        keep = s > BLIND * s[0]
        self.mix = (u[:, keep] / s[keep]).T.contiguous()

    def meet(self, device: torch.device) -> None:
        """Go where the weights are."""
        if device == self.device:
            return
        self.directions.setdefault(device, self.directions[self.device].to(device))
        self.mix, self.device = self.mix.to(device), device
        self.gain = self.gain and replace(self.gain, gain=self.gain.gain.to(device))

    def rows(self) -> Float[Tensor, "k d"]:
        """Orthonormal rows; in double until the last rounding, so that what a guard leaves is float32's own."""
        return (self.mix @ self._shown()).float()

    def _shown(self) -> Float[Tensor, "k d"]:
        rows = self.directions[self.device].double()
        if self.gain is None:
            return rows
        return self.gain.show(rows) if self.reads else self.gain.pull_back(rows)


@dataclass
class Held:
    """One trainable matrix and what it must not change; of a sharded one, this process's part.

    Args:
        source: (k, n) orthonormal rows, in the coordinates of the held dimension, or what makes them.
        rows: Whether the held dimension is the matrix's first (else its last).
        anchor: The matrix's own product with the basis at the start; None where it must be zero (LoRA).
        cut: Whether basis and anchor are those of this process's part alone.
    """

    source: Seen | Float[Tensor, "k n"]
    rows: bool
    anchor: Tensor | None = None
    cut: bool = False

    @property
    def basis(self) -> Float[Tensor, "k n"]:
        """The rows."""
        return self.source.rows() if isinstance(self.source, Seen) else self.source

    def meet(self, weight: Tensor) -> None:
        """Bring basis and anchor to where the matrix lies, cut to this process's part of it."""
        if self.cut == is_spread(weight) and self.source.device == weight.device:
            return
        held = 0 if self.rows else 1
        whole, part = self.basis, share(self.basis, weight, held, 1)
        has_double = weight.device.type != "mps"
        if isinstance(self.source, Seen) and part.shape == whole.shape and has_double:
            self.source.meet(weight.device)
        else:
            self.source = part
        if self.anchor is not None:
            self.anchor = share(self.anchor, weight, 1 - held, 1 - held)
        self.cut = is_spread(weight)

    def keep(self, weight: Tensor) -> None:
        """Take what the matrix does with the basis now as what it must go on doing."""
        self.anchor = self.reading(weight, self.basis).clone()

    def reading(self, weight: Tensor, basis: Float[Tensor, "k n"]) -> Tensor:
        """The part of the matrix along the basis, in float32."""
        w = local(weight).float()
        return sum_shards(basis @ w, weight, 0) if self.rows else sum_shards(w @ basis.T, weight, 1)

    def project(self, weight: Tensor, strength: float = 1.0) -> Tensor:
        """The matrix with its change along the basis taken out, in full or in part."""
        self.meet(weight)
        basis, w = self.basis, local(weight).float()
        gone = self.reading(weight, basis)
        if self.anchor is not None:
            gone = gone - self.anchor
        left, right = (basis.T, gone) if self.rows else (gone, basis)
        out = torch.addmm(w, left, right, alpha=-strength)
        return like(out.to(weight.dtype), weight)
