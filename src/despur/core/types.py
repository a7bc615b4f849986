"""The types that carry everything: Site, Factor, Edit, Report (Finder is in `_finder`, it needs scikit-learn)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.errors import ShapeMismatch
from despur.core.notebook import FactorView
from despur.core.spec import Spec

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a model where a tensor of width d passes.

    Args:
        module: Dotted module name as in `named_modules`, or `"*"`: the residual stream at every layer.
        side: The module's input or its output; `both`: its output is edited, and its input is to be seen beside it, under the name
            `seen`.

    Example:
        >>> Site("model.layers.2").side
        'out'
    """

    module: str = EVERYWHERE
    side: Literal["in", "out", "both"] = "out"

    @property
    def seen(self) -> str:
        """Name of the input that is to be seen beside the output."""
        return f"{self.module} (in)"


class Factor(FactorView, ABC):
    """What was found: directions in the residual stream, with the evidence for them."""

    site: Site
    evidence: Mapping[str, Any]

    @property
    @abstractmethod
    def width(self) -> int:
        """Width d of the stream that the factor lives in."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Number k of directions."""

    @abstractmethod
    def encode(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b k"]:
        """Read: how much of the factor is in x."""

    @abstractmethod
    def decode(self, c: Float[Tensor, "*b k"]) -> Float[Tensor, "*b d"]:
        """Write: the part of x that those coordinates explain."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Subspace(Factor):
    """A linear factor: k directions that read, k that write, and a centre.

    For an orthogonal subspace `read` and `write` are one orthonormal basis; an oblique one (LEACE) has two.

    Args:
        read: (k, d) rows; `encode(x) = (x - center) @ read.T`.
        write: (k, d) rows with `read @ write.T == I`; `decode(c) = c @ write`.
        center: (d,) subtracted before reading; zero for directions of weights and of differences.
        site: Where the directions were found.
        evidence: Method, score, control, n, seed, versions: whatever speaks for it.

    Raises:
        ShapeMismatch: the parts do not fit each other, or x has another width.

    Example:
        >>> factor = Subspace.orthonormal(torch.tensor([[3.0, 0.0, 4.0]]))
        >>> factor.encode(torch.tensor([0.6, 1.0, 0.8]))
        tensor([1.])
    """

    read: Float[Tensor, "k d"]
    write: Float[Tensor, "k d"]
    center: Float[Tensor, " d"]
    site: Site = field(default_factory=Site)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.read.ndim != 2 or self.read.shape != self.write.shape or self.center.shape != self.read.shape[1:]:
            raise ShapeMismatch(
                f"a subspace needs read (k, d), write (k, d), center (d,); got {tuple(self.read.shape)}, "
                f"{tuple(self.write.shape)}, {tuple(self.center.shape)}"
            )

    @classmethod
    def orthonormal(cls, directions: Float[Tensor, "k d"], *, site: Site | None = None, **evidence: Any) -> "Subspace":
        """Build from any k independent row vectors; they are orthonormalised in their order.

        Raises:
            ShapeMismatch: the rows are not finite, or not independent.
        """
        rows = directions.detach().to("cpu", torch.float32)
        if rows.ndim != 2 or not 0 < rows.shape[0] <= rows.shape[1]:
            raise ShapeMismatch(f"directions must be (k, d) with 0 < k <= d; got {tuple(rows.shape)}")
        norms = rows.norm(dim=1, keepdim=True)
        if not torch.isfinite(rows).all() or (norms == 0).any():
            raise ShapeMismatch("directions contain NaN, Inf or a zero row; a subspace needs finite directions")
        q, r = torch.linalg.qr((rows / norms).double().T)
        if r.diagonal().abs().min() < 1e-6:
            raise ShapeMismatch(f"the {rows.shape[0]} directions are not independent; pass fewer")
        basis = (q * r.diagonal().sign()).T.float().contiguous()  # same signs: row i points where direction i did
        return cls(basis, basis, torch.zeros(rows.shape[1]), site or Site(), evidence)

    @property
    def width(self) -> int:
        """Width d."""
        return self.read.shape[1]

    @property
    def rank(self) -> int:
        """Number k of directions."""
        return self.read.shape[0]

    def encode(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b k"]:
        """Coordinates of x, in the dtype and on the device of x."""
        self._check(x, self.width, "encode", "x")
        return (x - self.center.to(x)) @ self.read.to(x).T

    def decode(self, c: Float[Tensor, "*b k"]) -> Float[Tensor, "*b d"]:
        """The stream vector with those coordinates (the centre is not added)."""
        self._check(c, self.rank, "decode", "c")
        return c @ self.write.to(c)

    def _check(self, x: Tensor, size: int, verb: str, name: str) -> None:
        if x.shape[-1] != size:
            raise ShapeMismatch(
                f"{verb} got {name} {tuple(x.shape)}; this factor has k={self.rank} directions in width d={self.width} "
                f"at {self.site.module}. Was it found on another model?"
            )


Point = Literal["batch", "activation", "loss", "gradient", "weight"]


@dataclass(frozen=True, slots=True)
class Context:
    """What an edit may know besides its tensors.

    Args:
        model: The model being edited, with its adapter.
        step: Optimiser steps done so far.
        steps: Optimiser steps planned; 0 outside training.
        rng: The edit's own generator; drawing from it never moves the trainer's random state.
        tokens: Tokens of the task, padding included, that training read since the losses were last edited; 0 where nobody counts.
    """

    model: nn.Module
    step: int = 0
    steps: int = 0
    rng: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    tokens: int = 0


class Edit(nn.Module, ABC):
    """What is done: named tensors to named tensors, at exactly one of the five points of a training step.

    An edit drops no key, changes no shape, dtype or device and mutates nothing it is given; `batch` and
    `loss` edits may add keys. At `weight` and `gradient` the names are those of `named_parameters`, at
    `activation` the module's name (beside it, for a site of `both` sides, `Site.seen`), at `loss` the key `"loss"`, at `batch`
    `input_ids`, `attention_mask` and `labels` (which may gain rows and columns). An activation edit that a trainer is to carry says
    where, in `sites`.
    """

    point: ClassVar[Point]
    sites: tuple[Site, ...] = ()  # of an activation edit, known after `bind`
    spec: Spec | None = None  # how it was made, where a method of the catalogue made it

    def __repr__(self) -> str:
        """The call that made it."""
        return f"<edit {self.spec} at {self.point}>" if self.spec else super().__repr__()

    def bind(self, model: nn.Module) -> None:
        """Resolve what the edit acts on; called once before the first step.

        Raises:
            CannotAttach: nothing in this model would be edited.
        """

    @abstractmethod
    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Map the named tensors."""
