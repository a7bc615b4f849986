"""Lisa: some steps on guide rows, some on the task, each pulled towards where the other ended."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.adapter.updates import refuse_shards
from despur.core.errors import BadInput
from despur.core.model.own_text import OwnText
from despur.core.model.text_gradient import text_gradient
from despur.guard._vocabulary import check_vocabulary

WEIGHT = 0.1  # rho at strength 1
_FREE = 0.1  # share of the run before the pull begins, as in the authors' code


@final
class _Alternate(Edit):
    point = "gradient"

    def __init__(self, text: OwnText, pull: float, steps: tuple[int, int], rows_per_step: int) -> None:
        super().__init__()
        if min(*steps, rows_per_step) < 1:
            raise BadInput(
                f"guide_steps={steps[0]}, task_steps={steps[1]}, rows_per_step={rows_per_step}; each is at least 1"
            )
        self.text, self.pull, self.steps, self.rows_per_step = text, pull, steps, rows_per_step
        self.guiding = True
        self.ends: dict[bool, dict[str, Tensor]] = {}

    def bind(self, model: nn.Module) -> None:
        """Both states begin where the run begins."""
        self.guiding, self.ends = True, {}
        if not self.pull:
            return
        check_vocabulary(model, self.text.rows, "a guide row")
        self.ends = dict.fromkeys((True, False), _weights(model))

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        names = [n for n in tensors if n in self.ends.get(True, {})]
        if not names:
            return tensors
        refuse_shards(ctx.model, "lisa")
        guiding = ctx.step % sum(self.steps) < self.steps[0]
        if guiding != self.guiding:
            self.ends[self.guiding] = _weights(ctx.model)
            self.guiding = guiding
        grads = (
            text_gradient(ctx, self.text.rows, self.rows_per_step, names) if guiding else {n: tensors[n] for n in names}
        )
        if ctx.step < _FREE * ctx.steps:
            return {**tensors, **grads}
        other = self.ends[not guiding]
        pulls = {n: self.pull * (ctx.model.get_parameter(n).detach() - other[n]).to(tensors[n]) for n in names}
        return {**tensors, **{n: grads[n] + pulls[n] for n in names}}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@method(room="guard", paper="Huang et al. 2024 (Lisa), arXiv:2405.18641", cost=1.5)
def lisa(
    generic: OwnText, *, strength: float = 1.0, guide_steps: int = 5, task_steps: int = 45, rows_per_step: int = 16
) -> Edit:
    """Alternate between steps on guide rows and steps on the task, each pulled back to where the other ended.

    Replay in turns instead of mixed batches. In a guide step the guide rows' gradient replaces the task's. In both
    states the weights are pulled to the last ones of the other state. A guide step costs a forward and a backward
    pass over `rows_per_step` rows more, a task step nothing.

        guide steps:  L(guide rows) + (0.1 strength / 2) ||w - w_task||²
        task steps:   L(task rows)  + (0.1 strength / 2) ||w - w_guide||²

    Args:
        generic: Guide rows: good answers if there are any, else the base's own text.
        strength: Weight of the pull; 1 is rho = 0.1 (the paper has 1), 0 switches the whole guard off.
        guide_steps: Steps on guide rows, with which the run begins.
        task_steps: Steps on the task that follow, and then in turn.
        rows_per_step: Guide rows in a step.

    Returns:
        Edit at "gradient".

    Raises:
        BadInput: fewer than 1 step or row.
        CannotAttach: the rows have tokens that the model lacks (raised when training begins), or the weights are sharded.

    Example:
        >>> lisa(OwnText(((1, 2, 3),)), strength=0.1).point
        'gradient'

    Source: Huang et al. 2024, arXiv:2405.18641: 100 and 900 steps of 20,000, rho 1, no pull in the first tenth of a run.
    Differs: the guide's gradient and the pull join behind the trainer's clipping; the task's passes are paid in guide steps,
        too; loss on whole guide rows, prompts included; cycles of 50 steps, as runs here are short.
    Limits: where the task's last phase is long, it undoes the guide's; a run that is resumed forgets where the other state ended.
    """
    return _Alternate(generic, WEIGHT * strength, (guide_steps, task_steps), rows_per_step)
