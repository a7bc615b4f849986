"""An update in two parts: along the directions that some text's Fisher information weighs most, and the rest."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import LowRank
from despur.core.errors import BadInput
from despur.core.fisher.forms import Kronecker

TINY = 1e-12  # under a root, whose slope at zero is infinite


@dataclass(frozen=True, eq=False)
class Split:
    """One linear map's two parts, in coordinates of the alignment's eigenvectors.

    The Fisher information of the map is A (x) G, so its eigenvectors are products of one of G's (outputs) and one of A's
    (inputs), and an update's coordinate (i, j) is what it does along both.

    Args:
        outputs: G's eigenvectors in columns, (d_out, d_out).
        inputs: A's eigenvectors in columns, (d_in, d_in).
        roots: Square roots of the eigenvalues g_i and a_j, (d_out,) and (d_in,).
        weighed: Eigenvalues g_i a_j of the top eigenvectors, 0 of the others, (d_out, d_in).
        variances: Diagonals of G and A in the weights' own coordinates, (d_out,) and (d_in,).
        of_outputs: The task's G in these coordinates.
        of_inputs: The task's A in these coordinates.
    """

    outputs: Float[Tensor, "o o"]
    inputs: Float[Tensor, "i i"]
    roots: tuple[Float[Tensor, " o"], Float[Tensor, " i"]]
    weighed: Float[Tensor, "o i"]
    variances: tuple[Float[Tensor, " o"], Float[Tensor, " i"]]
    of_outputs: Float[Tensor, "o o"]
    of_inputs: Float[Tensor, "i i"]

    def turned(self, update: LowRank) -> Float[Tensor, "o i"]:
        """An update in coordinates of the eigenvectors."""
        return update.scale * (self.outputs.T @ update.up) @ (update.down @ self.inputs)

    def parts(self, turned: Float[Tensor, "o i"]) -> tuple[Float[Tensor, "o i"], Float[Tensor, "o i"]]:
        """Alignment part and task part."""
        chosen = self.weighed > 0
        return turned * chosen, turned * ~chosen

    def back(self, part: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        """A part in the weights' own coordinates."""
        return self.outputs @ part @ self.inputs.T

    def importance(self, turned: Float[Tensor, "o i"]) -> Float[Tensor, ""]:
        """Fisher length of the alignment part, squared."""
        felt = self.weighed * turned.detach()
        length = torch.dot(felt.flatten(), turned.flatten())
        return 2 * length - length.detach()  # a square's gradient, in half the passes over what a map's weights are

    def curvature(self, task: Float[Tensor, "o i"]) -> Float[Tensor, ""]:
        """Length of the task part, squared, by the curvature of the task's own rows."""
        return ((self.of_outputs @ task @ self.of_inputs) * task).sum()

    def collision(self, aligned: Float[Tensor, "o i"], task: Float[Tensor, "o i"]) -> Float[Tensor, ""]:
        """How much both parts share: the weights that they use, and the spaces that they write and read, each by half."""
        return (self.overlap(aligned, task) + self.nearness(aligned, task)) / 2

    def overlap(self, aligned: Float[Tensor, "o i"], task: Float[Tensor, "o i"]) -> Float[Tensor, ""]:
        """Sum of F_ij |a_ij t_ij| over the weights."""
        return (torch.outer(*self.variances) * (self.back(aligned) * self.back(task)).abs()).sum()

    def nearness(self, aligned: Float[Tensor, "o i"], task: Float[Tensor, "o i"]) -> Float[Tensor, ""]:
        """Mean of |aᵀ t| and |a tᵀ| in the metric: 0 where what both write is at right angles, and what both read."""
        root = torch.outer(*self.roots)
        a, t = root * aligned, root * task
        return (((a.T @ t).square().sum() + TINY).sqrt() + ((a @ t.T).square().sum() + TINY).sqrt()) / 2


def split(alignment: Kronecker, task: Kronecker, energy: float) -> dict[str, Split]:
    """Find the top eigenvectors of all maps together, and what the two parts are measured by.

    Args:
        alignment: Of the rows whose answers must stay.
        task: Of the training rows.
        energy: Share of the alignment's trace, in (0, 1], that the top eigenvectors have.

    Raises:
        BadInput: the alignment's Fisher information is zero or not finite, or the task's is not finite.

    Example:
        >>> eye = {"up": torch.eye(2)}
        >>> found = split(Kronecker({"up": torch.diag(torch.tensor([3.0, 1.0]))}, eye), Kronecker(eye, eye), 0.7)
        >>> found["up"].weighed
        tensor([[0., 3.],
                [0., 3.]])
    """
    for what, read in (("alignment", alignment), ("training", task)):
        if not all(torch.isfinite(t).all() for side in (read.inputs, read.signals) for t in side.values()):
            raise BadInput(
                f"align-guard: the gradients on the {what} rows are not finite. Look for NaN in the base, or load it in float32"
            )
    apart = {id(a): a for a in alignment.inputs.values()}  # maps that read the same have the same
    read = {key: _eigen(a) for key, a in apart.items()}
    turned = {n: (_eigen(alignment.signals[n]), read[id(alignment.inputs[n])]) for n in alignment.shapes}
    values = {n: torch.outer(g, a) for n, ((g, _), (a, _)) in turned.items()}
    # not torch's sort, which brings places along: twenty times slower on the hundred million of a small chat model
    flat = [v.flatten().cpu().numpy() for v in values.values()]
    ranked = np.sort(np.concatenate(flat or [np.zeros(1)]))[::-1]
    if not ranked[0] > 0:
        raise BadInput(
            "align-guard: the Fisher information of the alignment rows is zero, so no direction matters to them. Give rows with "
            "answers that the base is not wholly certain of, such as refusals, or leave the guard out"
        )
    share = np.cumsum(ranked, dtype=np.float64)
    floor = float(ranked[min(int(np.searchsorted(share, energy * share[-1])), len(ranked) - 1)])
    found: dict[str, Split] = {}
    for n, ((outputs, u), (inputs, v)) in turned.items():
        g, a = alignment.signals[n], alignment.inputs[n]
        found[n] = Split(
            u, v, (outputs.sqrt(), inputs.sqrt()), values[n] * (values[n] >= floor), (g.diagonal(), a.diagonal()),
            u.T @ task.signals[n] @ u, v.T @ task.inputs[n] @ v,
        )  # fmt: skip
    return found


def _eigen(matrix: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    values, vectors = torch.linalg.eigh(matrix)
    return values.clamp(min=0), vectors
