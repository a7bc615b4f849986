"""What keeps the rest while something is forgotten: a gradient that does it no harm, and springs on the weights it needs."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, LowRank
from despur.core.adapter.updates import Pair, linear_pairs
from despur.core.errors import BadInput
from despur.core.fisher.forms import Diagonal, Fisher
from despur.core.fisher.text import TextFisher
from despur.core.model.text_gradient import text_gradient
from despur.core.state.algebra import without_conflict


@final
class NoHarm(Edit):
    """Take out of the gradient what works against some rows, in this step's draw of them."""

    point = "gradient"

    def __init__(self, rows: Sequence[Sequence[int]], share: float, rows_per_step: int) -> None:
        super().__init__()
        self.rows, self.share, self.rows_per_step = rows, share, rows_per_step

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Gradients -> the same without their conflict."""
        if not self.share:
            return tensors
        rest = text_gradient(ctx, self.rows, self.rows_per_step, list(tensors))
        return without_conflict(tensors, rest, strength=self.share)


@final
class Spring(Edit):
    """Hold each weight where it was when training began, as stiffly as some rows need it: a diagonal Fisher penalty."""

    point = "loss"

    def __init__(self, rows: Sequence[Sequence[int]], weight: float, seed: int) -> None:
        super().__init__()
        self.rows, self.weight, self.seed = rows, weight, seed
        self.pairs: dict[str, Pair] = {}
        self.start: dict[str, tuple[Tensor, Tensor]] = {}
        self.fisher: Fisher = Diagonal({})

    def bind(self, model: nn.Module) -> None:
        """Measure the Fisher information of the model as it is now, and remember its updates.

        Raises:
            BadInput: the information is all zero or not finite.
        """
        if not self.weight:
            return
        self.pairs = linear_pairs(model, "suv")
        with torch.no_grad():
            self.start = {
                n: (a.clone(), b.clone()) for n, (a, b) in ((n, p.factors(model)) for n, p in self.pairs.items())
            }
        measured = TextFisher(model, list(self.pairs), self.rows, labels="sampled", seed=self.seed).importance()
        check_information(measured, len(self.rows))
        self.fisher = measured

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """`{"loss": loss}` -> the same plus weight / 2 x the length of the change."""
        if not self.weight:
            return tensors
        moved = {name: _moved(pair.factors(ctx.model), self.start[name]) for name, pair in self.pairs.items()}
        return {**tensors, "loss": tensors["loss"] + self.weight / 2 * self.fisher.quadratic(moved)}


def check_information(fisher: Diagonal, n: int) -> None:
    """Refuse Fisher information that protects nothing.

    Raises:
        BadInput: it is all zero, or not finite.
    """
    size = float(sum(v.double().sum() for v in fisher.values.values()))
    if not 0 < size < torch.inf:
        what = "all zero, so it protects nothing" if size == 0 else "not finite"
        remedy = (
            "Give rows to keep that the model is not certain of"
            if size == 0
            else "Look for NaN in the model, or load it in float32"
        )
        raise BadInput(f"suv: the Fisher information of the {n} rows to keep is {what}. {remedy}")


def _moved(now: tuple[Tensor, Tensor], start: tuple[Tensor, Tensor]) -> LowRank:
    (down, up), (down0, up0) = now, start
    return LowRank(torch.cat([down, down0]), torch.cat([up, -up0], 1))
