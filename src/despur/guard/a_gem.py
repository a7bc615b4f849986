"""A-GEM: the part of the task's gradient that works against some text is removed."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.adapter.updates import refuse_shards
from despur.core.errors import BadInput
from despur.core.model.own_text import OwnText
from despur.core.model.text_gradient import text_gradient
from despur.core.state.algebra import without_conflict
from despur.guard._vocabulary import check_vocabulary


@final
class _NoConflict(Edit):
    point = "gradient"

    def __init__(self, text: OwnText, strength: float, rows_per_step: int) -> None:
        super().__init__()
        if rows_per_step < 1:
            raise BadInput(f"rows_per_step={rows_per_step}; at least 1 is needed")
        self.text, self.strength, self.rows_per_step = text, strength, rows_per_step

    def bind(self, model: nn.Module) -> None:
        if self.strength:
            check_vocabulary(model, self.text.rows, "own text")

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        trained = {n for n, p in ctx.model.named_parameters() if p.requires_grad}
        names = [n for n in tensors if n in trained]
        if not self.strength or not names:
            return tensors
        refuse_shards(ctx.model, "a-gem")
        text = text_gradient(ctx, self.text.rows, self.rows_per_step, names)
        return {**tensors, **without_conflict({n: tensors[n] for n in names}, text, strength=self.strength)}


@method(room="guard", paper="Chaudhry et al. 2019 (A-GEM), arXiv:1812.00420", cost=2.0)
def a_gem(text: OwnText, *, strength: float = 1.0, rows_per_step: int = 16) -> Edit:
    """Remove the part of the task's gradient that works against some text; where the two agree, leave it unchanged.

    A constraint in place of a penalty: no weight has to be chosen, and a step that does the text no harm is the task's own.
    Choose it over `rehearse` where the task must not pay more than needed. A step costs one forward and backward pass over
    `rows_per_step` rows more.

        g <- g - strength (g . g_text / |g_text|²) g_text   where g . g_text < 0,   g_text = d loss(text) / d w

    Args:
        text: Own text; see `OwnText.sample`.
        strength: Share of the conflict that is removed, in [0, 1]; 0 leaves training bit-identical.
        rows_per_step: Rows of text in each step.

    Returns:
        Edit at "gradient".

    Raises:
        BadInput: fewer than 1 row per step.
        CannotAttach: the text has tokens that the model lacks (raised when training begins), or the weights are sharded.

    Example:
        >>> a_gem(OwnText(((1, 2, 3),)), rows_per_step=4).point
        'gradient'

    Source: Chaudhry et al. 2019, arXiv:1812.00420.
    Differs: the memory is text that the base wrote, in place of rows of former tasks; LoRA's matrices together are one vector.
    Limits: a constraint on the gradient, which Adam's moments and scales carry out of it again; and the loss of text that the
        base itself wrote is near its minimum at the start, where its gradient is noise.
    """
    return _NoConflict(text, strength, rows_per_step)
