"""keep_inputs: KL to the base on the tune's own inputs, the usual regulariser."""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from despur.core import Edit, method
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.own_text import OwnText
from despur.core.model.states import base_now, check_base_stays
from despur.core.text.rows import Tokens
from despur.guard._budget import BUDGET
from despur.guard._hold_on_text import Batch, HoldOnOwnText, Term, as_text

WEIGHT = 0.3  # lambda at strength 1


class _KeepInputs(Term):
    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        check_base_stays(model, "keep_inputs")
        yield from ({} for _ in batches)

    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Tensor:
        with base_now(model) as base:
            before = log_probs_at(base, *batch)
        now = log_probs_at(model, *batch)
        return (now.exp() * (now - before)).sum(-1)


@method(room="guard", paper="arXiv:2508.06249 (its KL arm)", cost=1.4)
def keep_inputs(rows: Sequence[Tokens] | OwnText, *, strength: float = 1.0, budget: float = BUDGET) -> Edit:
    """Hold the output distribution at the base's on the tune's own rows.

    What most people mean by a KL penalty. It sees no text but the tune's, so it cannot separate the task
    from what is learned beside it: the baseline for `rehearse`, which is the same off the task. Each step pays a
    forward and a backward pass over the tokens that `budget` allows, and a second forward pass of the base.

        loss = task + 0.3 strength mean_t KL(p || p_base)

    Args:
        rows: The training rows as tokens; prompts and answers both count.
        strength: Weight of the penalty; 1 is lambda = 0.3 per token (the paper uses 0.1), 0 leaves training bit-identical.
        budget: Tokens of these rows in a step, for each token of the task; see `rehearse`.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a budget of 0 or less.
        CannotAttach: the model is no PEFT model, or lacks tokens of the rows (raised when training begins).

    Example:
        >>> keep_inputs(OwnText(((1, 2, 3),), "training rows"), strength=0.1).point
        'loss'

    Source: Kaczér et al. 2025, arXiv:2508.06249: lambda 0.1, base = adapter off, on the training inputs.
    Differs: rows of its own draw, since a guard does not see the batch; prompts count like answers.
    Limits: there it cost half of the narrow task and all of the learning that leaves the prior.
    """
    return HoldOnOwnText(as_text(rows), _KeepInputs(), weight=WEIGHT * strength, budget=budget)
