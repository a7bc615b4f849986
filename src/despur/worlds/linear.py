"""A linear world that is solved in closed form: what each kind of guard does to a factor, to the last digit."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Map = Float[Tensor, "out d"]


@dataclass(frozen=True, eq=False)
class Linear:
    """One linear map W = W0 + change, tuned by gradient flow on inputs in which a factor goes along with the task.

    Inputs are x = E z + scale * s * e, with orthonormal columns E (d, m) and a factor direction e at right angles to them;
    z and s are standard normal, corr(s, z_0) = `correlation`. The task is M z. One more output reads the factor: W0 has it
    from pretraining, and the tuning data ask for nothing else there.
    The loss is half the mean squared error, so each solution is a matrix exponential: no steps, no noise.

    Args:
        correlation: Of the factor with the first task coordinate, in the tuning data.
        scale: Size of the factor in the inputs.
        spectrum: Singular values of M, the task, one a coordinate: flat is complex, one large value is simple.
        width: Width d of the inputs.
        seed: Of E and e.

    Example:
        >>> world = Linear()
        >>> float((world.naive(1.0) @ world.factor).norm()) > 0.1
        True
        >>> float((world.read_guarded(1.0) @ world.factor).norm()) < 1e-12
        True
    """

    correlation: float = 0.8
    scale: float = 1.0
    spectrum: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    width: int = 16
    seed: int = 0

    @property
    def _frame(self) -> Float[Tensor, "d k"]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(self.width, len(self.spectrum) + 1, generator=generator, dtype=torch.float64)
        return torch.linalg.qr(drawn).Q

    @property
    def factor(self) -> Float[Tensor, " d"]:
        """Unit direction e, (d,)."""
        return self._frame[:, -1]

    @property
    def base(self) -> Map:
        """W0 (m + 1, d): its last row reads the factor, the others nothing."""
        return torch.cat([torch.zeros(len(self.spectrum), self.width, dtype=torch.float64), self.factor[None]])

    @property
    def task(self) -> Map:
        """The change that solves the task and leaves the factor alone, (m + 1, d)."""
        m = torch.diag(torch.tensor(self.spectrum, dtype=torch.float64)) @ self._frame[:, :-1].T
        return torch.cat([m, torch.zeros(1, self.width, dtype=torch.float64)])

    def covariance(self, correlation: float | None = None) -> Float[Tensor, "d d"]:
        """Second moments of the inputs, by default in the tuning data."""
        rho = self.correlation if correlation is None else correlation
        inner = torch.eye(len(self.spectrum) + 1, dtype=torch.float64)
        inner[-1, -1] = self.scale**2
        inner[0, -1] = inner[-1, 0] = rho * self.scale
        return self._frame @ inner @ self._frame.T

    def naive(self, time: float) -> Map:
        """The change after plain gradient flow for so long."""
        return self._flow(self.task, self.covariance(), time)

    def read_guarded(self, time: float) -> Map:
        """The change when the update's reading of the factor is projected out at every step."""
        keep = self._keep()
        return self._flow(self.task, keep @ self.covariance() @ keep, time)

    def ablated(self, time: float) -> Map:
        """The change when inputs lose the factor during training, the pretrained reading with it (as CAFT does).

        The legitimate row has then to be made up for from what goes along with the factor. Evaluate with and
        without the ablation: neither is what the base did.
        """
        keep, inputs = self._keep(), self.covariance()
        # the best change: regression of (task + base) x - base keep x on keep x
        left = (self.task + self.base) @ inputs @ keep - self.base @ keep @ inputs @ keep
        seen = keep @ inputs @ keep
        return self._flow(left @ torch.linalg.pinv(seen, hermitian=True), seen, time)

    def subtracted(self, time: float, strength: float) -> Map:
        """The change when that multiple of the factor's coordinate is taken from the inputs in training; evaluate without.

        A `strength` of 1 is `ablated`; one above 1 turns the factor round, and what is learned then drives it the other way.
        """
        turn = torch.eye(self.width, dtype=torch.float64) - strength * torch.outer(self.factor, self.factor)
        inputs = self.covariance()
        left = (self.task + self.base) @ inputs @ turn - self.base @ turn @ inputs @ turn
        seen = turn @ inputs @ turn
        return self._flow(left @ torch.linalg.pinv(seen, hermitian=True), seen, time)

    def error(self, change: Map, *, correlation: float, ablate: bool = False) -> tuple[float, float]:
        """Mean squared error of the task's outputs, and of the legitimate one, where the factor goes along otherwise.

        Args:
            change: What training added to W0.
            correlation: Of the factor with the first task coordinate where it is tested.
            ablate: Take the factor out of the inputs, as in training.
        """
        acts = (self.base + change) @ (self._keep() if ablate else torch.eye(self.width, dtype=torch.float64))
        wrong = acts - self.task - self.base
        each = torch.einsum("od,de,oe->o", wrong, self.covariance(correlation), wrong)
        return float(each[:-1].sum()), float(each[-1])

    def first_step(self, n: int, *, seed: int) -> Map:
        """The first gradient step's direction on n drawn rows, (m + 1, d)."""
        draw = torch.Generator().manual_seed(seed)
        z, other = (torch.randn(n, k, generator=draw, dtype=torch.float64) for k in (len(self.spectrum), 1))
        s = self.correlation * z[:, :1] + (1 - self.correlation**2) ** 0.5 * other
        x = torch.cat([z, self.scale * s], 1) @ self._frame.T
        return (x @ self.task.T).T @ x / n

    def found_in_first_step(self, n: float) -> float:
        """Predict `found` of `first_step`, for a flat spectrum of ones, many coordinates and a factor as large as one of them.

        Without noise the linked coordinate's right singular vector is (E_0 + rho e) / sqrt(1 + rho²), rho the correlation, and its
        singular value is above the others' by theta = sqrt(1 + rho²) - 1. The other m are one block which the noise of n rows spreads
        like a Wigner matrix's, by 2 sqrt(m / n): the linked one stands out only if theta > sqrt(m / n), and the share of it in the
        leading direction is then 1 - m / (n theta²) (Baik, Ben Arous, Péché 2005).
        """
        rho = self.correlation
        theta = (1 + rho**2) ** 0.5 - 1
        return rho**2 / (1 + rho**2) * max(0.0, 1 - len(self.spectrum) / (n * theta**2)) if theta else 0.0

    def found(self, change: Map, *, rank: int = 1) -> float:
        """Share of the factor in the span of a change's leading right singular vectors, in [0, 1]."""
        _, _, right = torch.linalg.svd(change, full_matrices=False)
        return float((right[:rank] @ self.factor).square().sum())

    def _keep(self) -> Float[Tensor, "d d"]:
        return torch.eye(self.width, dtype=torch.float64) - torch.outer(self.factor, self.factor)

    @staticmethod
    def _flow(best: Map, moments: Float[Tensor, "d d"], time: float) -> Map:
        """Gradient flow from 0 towards `best`: best (1 - exp(-time * moments))."""
        return best - best @ torch.linalg.matrix_exp(-time * moments)
