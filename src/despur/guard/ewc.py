"""EWC: a quadratic penalty on every weight, as stiff as the base's own text needs it."""

from collections.abc import Mapping
from typing import Literal, final

from torch import Tensor, nn

from despur.core import Context, Edit, LowRank, method
from despur.core.adapter.updates import Pair, linear_pairs, refuse_shards
from despur.core.errors import BadInput
from despur.core.fisher.forms import Diagonal, Fisher
from despur.core.fisher.labels import Labels
from despur.core.fisher.text import TextFisher
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._vocabulary import check_vocabulary

WEIGHT = 300.0  # lambda at strength 1
Form = Literal["diagonal", "rank one"]


@final
class _Spring(Edit):
    point = "loss"

    def __init__(self, text: OwnText, form: Form, weight: float, rows: int, seed: int) -> None:
        super().__init__()
        if form not in ("diagonal", "rank one") or rows < 1:
            raise BadInput(
                f"form={form!r}, n_rows={rows}; form is 'diagonal' or 'rank one', and at least 1 row is needed"
            )
        self.text, self.weight, self.seed = OwnText(text.rows[:rows], text.origin), weight, seed
        self.form: Form = form
        self.pairs: dict[str, Pair] = {}
        self.fisher: Fisher = Diagonal({})

    def bind(self, model: nn.Module) -> None:
        """Measure the base's Fisher information on the text, once."""
        if not self.weight:
            return
        self.pairs = linear_pairs(model, "ewc")
        check_vocabulary(model, self.text.rows, "the text")
        drawn = self.form == "diagonal"
        with as_base(model) as base:
            labels: Labels = "sampled" if drawn else "observed"
            read = TextFisher(base, list(self.pairs), self.text.rows, labels=labels, seed=self.seed)
            self.fisher = read.importance() if drawn else read.rank_one()

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not self.weight:
            return tensors
        refuse_shards(ctx.model, "ewc")
        change = {name: LowRank(*pair.factors(ctx.model)) for name, pair in self.pairs.items()}
        return {**tensors, "loss": tensors["loss"] + self.weight / 2 * self.fisher.quadratic(change)}


@method(room="guard", paper="Kirkpatrick et al. 2017, arXiv:1612.00796", cost=2.0)
def ewc(text: OwnText, *, strength: float = 1.0, form: Form = "diagonal", n_rows: int = 256, seed: int = 0) -> Edit:
    """Hold each weight to the base's as stiffly as some text needs it (elastic weight consolidation).

    The text is read once, before training, and then only the weights are used: cheaper a step than `rehearse`, and
    right only near the base. The stiffness is the base's own Fisher information: half of the sum is KL(p_base || p) per token for
    small changes but for the terms between two weights. A low-rank update moves many together, hence a larger lambda.

        loss = task + (300 strength / 2) sum_ij F_ij (s B A)_ij²,   F = mean_t E_{y ~ p_base} (d log p(y) / d W)²
        "rank one":   (300 strength / 2) (sum <g, s B A>)²,         g = mean_t d log p(text) / d W

    Args:
        text: Own text, or generic text.
        strength: Weight of the penalty; 1 is lambda = 300, 0 leaves training bit-identical.
        form: Fisher information as its diagonal, or as the outer product of the text's mean gradient.
        n_rows: Rows of text that are read.
        seed: Seed of the drawn labels.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a form that is not known.
        CannotAttach: anything but LoRA on linear maps is trained (raised when training begins), or it is sharded.

    Example:
        >>> ewc(OwnText(((1, 2, 3),)), strength=0.5).point
        'loss'

    Source: Kirkpatrick et al. 2017, arXiv:1612.00796; rank one: arXiv:2509.23593, abstract only.
    Differs: on LoRA's effective update; true Fisher (labels drawn, gradients squared a row at a time), where most code squares
        a batch's mean. The rank-one paper adds replay.
    Limits: keeps d_out d_in float32 numbers per matrix, as many as the adapted weights, and multiplies B A out in each step. On
        text that the base wrote itself the mean gradient is noise around zero, so "rank one" needs other text.
    """
    return _Spring(text, form, WEIGHT * strength, n_rows, seed)
