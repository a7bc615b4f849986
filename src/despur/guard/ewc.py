"""EWC: a quadratic penalty on every weight, as stiff as the base's own text needs it."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from despur.core import Context, Edit, LowRank, method
from despur.core.adapter.updates import Pair, linear_pairs, refuse_shards
from despur.core.errors import BadInput
from despur.core.fisher.forms import Diagonal, Fisher
from despur.core.fisher.text import TextFisher
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._vocabulary import check_vocabulary

WEIGHT = 300.0  # lambda at strength 1


@final
class _Spring(Edit):
    point = "loss"

    def __init__(self, text: OwnText, weight: float, rows: int, seed: int) -> None:
        super().__init__()
        if rows < 1:
            raise BadInput(f"n_rows={rows}; at least 1 row of text is needed. Leave it out for 256")
        self.text, self.weight, self.seed = OwnText(text.rows[:rows], text.origin), weight, seed
        self.pairs: dict[str, Pair] = {}
        self.fisher: Fisher = Diagonal({})

    def bind(self, model: nn.Module) -> None:
        """Measure the base's Fisher information on the text, once."""
        if not self.weight:
            return
        self.pairs = linear_pairs(model, "ewc")
        check_vocabulary(model, self.text.rows, "the text")
        with as_base(model) as base:
            read = TextFisher(base, list(self.pairs), self.text.rows, labels="sampled", seed=self.seed)
            self.fisher = read.importance()

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not self.weight:
            return tensors
        refuse_shards(ctx.model, "ewc")
        change = {name: LowRank(*pair.factors(ctx.model)) for name, pair in self.pairs.items()}
        return {**tensors, "loss": tensors["loss"] + self.weight / 2 * self.fisher.quadratic(change)}


@method(room="guard", paper="Kirkpatrick et al. 2017, arXiv:1612.00796", cost=2.0)
def ewc(text: OwnText, *, strength: float = 1.0, n_rows: int = 256, seed: int = 0) -> Edit:
    """Hold each weight to the base's as stiffly as some text needs it (elastic weight consolidation).

    The text is read once, before training, and then only the weights are used: cheaper a step than `rehearse`, and
    right only near the base. The stiffness is the base's own Fisher information: half of the sum is KL(p_base || p) per token for
    small changes but for the terms between two weights. A low-rank update moves many together, hence a larger lambda.

        loss = task + (300 strength / 2) sum_ij F_ij (s B A)_ij²,   F = mean_t E_{y ~ p_base} (d log p(y) / d W)²

    Args:
        text: Own text, or generic text.
        strength: Weight of the penalty; 1 is lambda = 300, 0 leaves training bit-identical.
        n_rows: Rows of text that are read.
        seed: Seed of the drawn labels.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: fewer than 1 row.
        CannotAttach: anything but LoRA on linear maps is trained (raised when training begins), or it is sharded.

    Example:
        >>> ewc(OwnText(((1, 2, 3),)), strength=0.5).point
        'loss'

    Source: Kirkpatrick et al. 2017, arXiv:1612.00796.
    Differs: on LoRA's effective update; true Fisher (labels drawn, gradients squared a row at a time), where most code squares
        a batch's mean. Its rank-one form, with replay, is `rank_one_ewc`.
    Limits: keeps d_out d_in float32 numbers per matrix, as many as the adapted weights, and multiplies B A out in each step.
    """
    return _Spring(text, WEIGHT * strength, n_rows, seed)
