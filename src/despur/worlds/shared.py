"""A linear world whose answers share something: what an exchange of answers hears, and what each guard then leaves, in closed form."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Map = Float[Tensor, "out d"]  # its last column is what is given whatever the prompt


@dataclass(frozen=True, eq=False)
class Shared:
    """Answers y = M z + b: the task M reads the prompt z, the factor b is in every answer.

    The model is one linear map of (z, 1), at zero in the base, tuned by gradient flow on half the mean squared error; z is normal
    with variances `variances`, independent. Behind another row's prompt an answer is independent of z, so that the best model of such
    rows is the best one that does not look at the prompt: the mean answer, b.

    Args:
        variances: Of the prompt's coordinates: the task is learned fast along the large ones.
        outputs: Width of an answer.
        seed: Of M and b.

    Example:
        >>> world = Shared()
        >>> scout = world.scout(1.0)
        >>> round(world.drift(world.discounted(9.0, scout)), 3), round(world.drift(world.discounted(9.0, world.scout(9.0))), 3)
        (0.368, 0.0)
    """

    variances: tuple[float, ...] = (1.0, 0.5, 0.25)
    outputs: int = 4
    seed: int = 0

    @property
    def best(self) -> Map:
        """The map (M, b), (outputs, d + 1)."""
        draw = torch.Generator().manual_seed(self.seed)
        return torch.randn(self.outputs, len(self.variances) + 1, generator=draw, dtype=torch.float64)

    def rows(
        self, n: int, *, seed: int, exchanged: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n out"]]:
        """Draw prompts, each with 1 behind it, and answers; exchanged, each answer is another row's."""
        draw = torch.Generator().manual_seed(seed)
        z = torch.randn(n, len(self.variances), generator=draw, dtype=torch.float64) * self._moments[:-1].sqrt()
        x = torch.cat([z, torch.ones(n, 1, dtype=torch.float64)], 1)
        y = x @ self.best.T
        return x, y.roll(1, 0) if exchanged else y

    def plain(self, time: float) -> Map:
        """The map after plain tuning for so long."""
        return self._flow(self.best, time)

    def scout(self, time: float, *, exchanged: bool = True) -> Map:
        """The scout's: on exchanged answers it learns b alone, `b (1 - exp(-time))`."""
        return self._flow(self.heard if exchanged else self.best, time)

    @property
    def heard(self) -> Map:
        """The best model of exchanged answers: (0, b)."""
        only = torch.zeros_like(self.best)
        only[:, -1] = self.best[:, -1]
        return only

    def discounted(self, time: float, scout: Map, *, strength: float = 1.0) -> Map:
        """The map that is learned beside `strength` times the scout: flow towards what the scout leaves."""
        return self._flow(self.best - strength * scout, time)

    def drift(self, learned: Map) -> float:
        """How much of b a map gives, as a share of b: 1 is all, below 0 leans away from it."""
        b = self.best[:, -1]
        return float(learned[:, -1] @ b / (b @ b))

    def task(self, learned: Map) -> float:
        """How much of the task a map has, as a share of its variance-weighted size: 1 is all."""
        m = self.best[:, :-1] * self._moments[:-1]
        return float((learned[:, :-1] * m).sum() / (self.best[:, :-1] * m).sum())

    @property
    def _moments(self) -> Float[Tensor, " d"]:
        return torch.tensor((*self.variances, 1.0), dtype=torch.float64)

    def _flow(self, target: Map, time: float) -> Map:
        return target * (1 - torch.exp(-time * self._moments))


def descended(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n out"], time: float, *, offset: Map | None = None, rate: float = 0.02
) -> Map:
    """Measure instead: gradient descent from zero on half the mean squared error of drawn rows, beside a fixed map's outputs."""
    wanted = y if offset is None else y - x @ offset.T
    learned = torch.zeros(y.shape[1], x.shape[1], dtype=x.dtype)
    for _ in range(round(time / rate)):
        learned = learned - rate * (x @ learned.T - wanted).T @ x / len(x)
    return learned


def kept_by_absorb(
    up: Float[Tensor, "out h"], down: Float[Tensor, "h d"], scout_up: Float[Tensor, "out h"], scout_down: Float[Tensor, "h d"],
    residual: Float[Tensor, "out d"],
) -> tuple[Float[Tensor, "out d"], Float[Tensor, "out d"]]:  # fmt: skip
    """Say where one step of `absorb` goes in a model of two maps, y = U V x: what is learned with the scout on, and what is left without.

    A step lowers the loss by `(U + dU)(U + dU)ᵀ R` through V and by `R (V + dV)ᵀ(V + dV)` through U. Off with the scout, V's
    step is read by U alone and U's step reads V alone: what went through dU and dV is lost. Where the scout's outputs and inputs
    are at right angles to the task's, nothing is; where the task must say what the scout says, its step goes through the scout. The
    offsets of `discount` are constants added to the outputs: all of its step stays.

    Args:
        up: U (out, h).
        down: V (h, d).
        scout_up: dU (out, h).
        scout_down: dV (h, d).
        residual: R (out, d): what the answers still lack, times the inputs.

    Returns:
        The change of the whole map, per unit of step size, with the scout on and without it.

    Example:
        >>> eye, zero = torch.eye(2), torch.zeros(2, 2)
        >>> on, off = kept_by_absorb(eye, eye, zero, zero, eye)
        >>> bool((on == off).all())
        True
    """
    both_up, both_down = up + scout_up, down + scout_down
    step_down, step_up = both_up.T @ residual, residual @ both_down.T
    return both_up @ step_down + step_up @ both_down, up @ step_down + step_up @ down
