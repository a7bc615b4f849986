"""Fisher information in a form that fits into memory, and what is done with it: lengths of changes, and natural gradients."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from despur.core.adapter.lowrank import LowRank
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.state.tensors import check_known

Change = Mapping[str, Tensor | LowRank]


class Fisher(ABC):
    """Fisher information F of named weights."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The weights, and their shapes."""

    @abstractmethod
    def quadratic(self, delta: Change) -> Float[Tensor, ""]:
        """The length delta' F delta of a change, with its gradient; half of it is the KL divergence, for small changes.

        Args:
            delta: Changes by name, dense or of low rank; a weight that is not named does not move.

        Raises:
            ShapeMismatch: a name that is not known, or another shape.
        """

    @abstractmethod
    def precondition(self, gradient: Mapping[str, Tensor], *, damping: float) -> dict[str, Tensor]:
        """The natural gradient (F + damping I)^-1 g.

        Args:
            gradient: By name; weights that are not named stay where they are.
            damping: Above 0; about the smallest curvature that is trusted.

        Raises:
            BadInput: no damping.
            ShapeMismatch: a name that is not known, or another shape.
        """

    def _check(self, given: Change, who: str, damping: float | None = None) -> None:
        check_known(given, self.shapes, f"the {who} has", "the Fisher information")
        for name, value in given.items():
            shape = _shape(value)
            if shape != self.shapes[name]:
                raise ShapeMismatch(
                    f"the {who} of {name!r} has shape {shape}, the Fisher information is of {self.shapes[name]}. Give the same weights"
                )
        if damping is not None and not damping > 0:
            raise BadInput(f"damping={damping}; a number above 0 is needed, since F has no inverse of its own")


@dataclass(frozen=True)
class Diagonal(Fisher):
    """Each weight's own importance; what couples two weights is left out.

    Args:
        values: Mean squared gradient, by name.
    """

    values: Mapping[str, Tensor]

    @property
    @override
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {n: tuple(v.shape) for n, v in self.values.items()}

    @override
    def quadratic(self, delta: Change) -> Float[Tensor, ""]:
        self._check(delta, "change")
        return _sum([(self.values[n] * _dense(d).square()).sum() for n, d in delta.items()])

    @override
    def precondition(self, gradient: Mapping[str, Tensor], *, damping: float) -> dict[str, Tensor]:
        self._check(gradient, "gradient", damping)
        return {n: g / (self.values[n].to(g) + damping) for n, g in gradient.items()}


@dataclass(frozen=True)
class RankOne(Fisher):
    """The outer product of the mean gradient with itself: one direction, over all weights.

    Args:
        mean: Gradient of the mean log-probability, by name.
        collinearity: |mean g|² / mean |g|² over n independent units, in [0, 1]: how much of the Fisher information the one
            direction has. About 1 / n where gradients are noise around zero.
        n: The units.
    """

    mean: Mapping[str, Tensor]
    collinearity: float
    n: int

    @classmethod
    def of(cls, total: Mapping[str, Tensor], squares: float, units: int, per: int) -> "RankOne":
        """Make it out of the sum of all units' gradients, the sum of their squared lengths, and what the mean is over."""
        length = sum(float(t.double().square().sum()) for t in total.values())
        return cls({n: t / per for n, t in total.items()}, length / (units * squares) if squares else 0.0, units)

    @property
    @override
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {n: tuple(v.shape) for n, v in self.mean.items()}

    @override
    def quadratic(self, delta: Change) -> Float[Tensor, ""]:
        self._check(delta, "change")
        return _sum([_along(self.mean[n], d) for n, d in delta.items()]).square()

    @override
    def precondition(self, gradient: Mapping[str, Tensor], *, damping: float) -> dict[str, Tensor]:
        self._check(gradient, "gradient", damping)
        along = sum(float((self.mean[n].to(g).double() * g.double()).sum()) for n, g in gradient.items())
        size = sum(float(self.mean[n].double().square().sum()) for n in gradient)
        share = along / (damping + size)  # Sherman and Morrison
        return {n: (g - share * self.mean[n].to(g)) / damping for n, g in gradient.items()}


@dataclass(frozen=True)
class Kronecker(Fisher):
    """Of each linear map the covariance of what goes in times that of what comes back; maps are not coupled (K-FAC).

        F of one map = A (x) G,   A = E[x xᵀ],   G = E[d dᵀ]

    Args:
        inputs: A by name of the weight, (d_in, d_in).
        signals: G by name of the weight, (d_out, d_out).
    """

    inputs: Mapping[str, Tensor]
    signals: Mapping[str, Tensor]

    @property
    @override
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {n: (len(g), len(self.inputs[n])) for n, g in self.signals.items()}

    @override
    def quadratic(self, delta: Change) -> Float[Tensor, ""]:
        self._check(delta, "change")
        parts: list[Tensor] = []
        for n, d in delta.items():
            a, g = self.inputs[n], self.signals[n]
            if isinstance(d, LowRank):
                parts.append(d.scale**2 * ((d.up.T @ g @ d.up) * (d.down @ a @ d.down.T)).sum())
            else:
                parts.append(((g @ d @ a) * d).sum())
        return _sum(parts)

    @override
    def precondition(self, gradient: Mapping[str, Tensor], *, damping: float) -> dict[str, Tensor]:
        self._check(gradient, "gradient", damping)
        out: dict[str, Tensor] = {}
        for n, grad in gradient.items():
            (a, read), (g, write) = (torch.linalg.eigh(x.double()) for x in (self.inputs[n], self.signals[n]))
            turned = write.T @ grad.to(write) @ read
            scaled = turned / (g.clamp(min=0)[:, None] * a.clamp(min=0) + damping)
            out[n] = (write @ scaled @ read.T).to(grad)
        return out


def _shape(value: Tensor | LowRank) -> tuple[int, ...]:
    return (len(value.up), value.down.shape[1]) if isinstance(value, LowRank) else tuple(value.shape)


def _dense(value: Tensor | LowRank) -> Tensor:
    return value.scale * value.up @ value.down if isinstance(value, LowRank) else value


def _along(direction: Tensor, value: Tensor | LowRank) -> Tensor:
    if isinstance(value, LowRank):  # never multiplied out
        return value.scale * ((value.up.T @ direction) * value.down).sum()
    return (direction * value).sum()


def _sum(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum() if parts else torch.zeros(())
