"""Rank-one EWC: some text is replayed, and the one direction in which its loss rises at once is held by a spring."""

import warnings
from collections.abc import Iterator, Mapping
from typing import final

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, LowRank, method
from despur.core.adapter.updates import Pair, linear_pairs, refuse_shards
from despur.core.errors import BadInput
from despur.core.fisher.forms import RankOne
from despur.core.fisher.text import TextFisher
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._budget import BUDGET
from despur.guard._hold_on_text import Batch, HoldOnOwnText, Term

WEIGHT = 300.0  # lambda at strength 1, as of `ewc`
COLLINEAR = 0.5  # below it most of the Fisher information lies off the one direction


class _Replay(Term):
    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        yield from ({} for _ in batches)

    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Tensor:
        """-log p of the next token; nothing follows a row's last."""
        follows = nn.functional.pad(batch.mask[:, 1:], (0, 1))[batch.counted]
        said = log_probs_at(model, *batch).gather(1, batch.ids.roll(-1, 1)[batch.counted][:, None]).squeeze(1)
        return -said * follows


@final
class _ReplayAndSpring(Edit):
    point = "loss"

    def __init__(self, text: OwnText, strength: float, replay: float, rows: int, budget: float) -> None:
        super().__init__()
        if rows < 1 or replay < 0:
            raise BadInput(f"n_rows={rows}, replay={replay}; at least 1 row is needed, and a weight of 0 or more")
        self.text, self.weight = OwnText(text.rows[:rows], text.origin), WEIGHT * strength
        self.replay = HoldOnOwnText(text, _Replay(), weight=replay * strength, budget=budget)
        self.pairs: dict[str, Pair] = {}
        self.fisher = RankOne({}, 0.0, 0)

    def bind(self, model: nn.Module) -> None:
        """Measure the base's mean gradient on the text, once."""
        self.replay.bind(model)
        if not self.weight:
            return
        self.pairs = linear_pairs(model, "rank-one-ewc")
        with as_base(model) as base:
            self.fisher = TextFisher(base, list(self.pairs), self.text.rows, labels="observed").rank_one()
        check_direction(self.fisher, self.text.origin)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not self.weight:
            return tensors
        refuse_shards(ctx.model, "rank-one-ewc")
        change = {name: LowRank(*pair.factors(ctx.model)) for name, pair in self.pairs.items()}
        held = self.replay(tensors, ctx)
        return {**held, "loss": held["loss"] + self.weight / 2 * self.fisher.quadratic(change)}


def check_direction(fisher: RankOne, of: str) -> None:
    """Refuse a mean gradient that is no direction; warn where it is but a small part of the Fisher information.

    Args:
        fisher: Measured.
        of: What it was measured on.

    Raises:
        BadInput: the gradients are all zero, or not finite.
    """
    size = float(torch.stack([g.double().square().sum() for g in fisher.mean.values()]).sum())
    if not 0 < size < torch.inf:
        is_zero = size == 0
        raise BadInput(
            f"rank-one-ewc: the mean gradient of {of} ({fisher.n} rows) is {'zero' if is_zero else 'not finite'}, so it names no "
            f"direction. {'Give other text, or take ewc' if is_zero else 'Look for NaN in the base, or load it in float32'}"
        )
    if fisher.collinearity < COLLINEAR:
        warnings.warn(
            f"rank-one-ewc: the gradients of {of} are not collinear: their mean has {fisher.collinearity:.2f} of their squared length "
            f"(1 / {fisher.n} would be noise), and the rest is held by replay alone. Take rehearse or ewc if that is too little",
            stacklevel=2,
        )


@method(room="guard", paper="Wang et al. 2025, arXiv:2509.23593", cost=1.5)
def rank_one_ewc(
    text: OwnText, *, strength: float = 1.0, replay: float = 1.0, n_rows: int = 256, budget: float = BUDGET
) -> Edit:
    """Replay some text, and hold the update still along that text's mean gradient (rank-one Fisher EWC).

    One number says how much an update raises the text's loss to first order, and a spring holds it at zero; replay does the rest.
    Choose it over `ewc` where the gradients of single rows are nearly collinear, as those of a denoiser are at high noise: it
    warns where they are not, as on nearly every text. A step costs the text that `budget` allows and one product a matrix.

        loss = task + strength replay loss(text) + (300 strength / 2) (sum <g, s B A>)²,   g = mean_t d log p(text) / d W

    Args:
        text: What is replayed and measured: own text, or generic text.
        strength: Weight of both terms; 1 is lambda = 300, 0 leaves training bit-identical.
        replay: Weight of the text's loss beside the task's; 0 is the spring alone.
        n_rows: Rows of text that the gradient is measured on.
        budget: Tokens of text in a step, for each token of the task; see `rehearse`.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: fewer than 1 row, or gradients that are all zero or not finite (raised when training begins).
        CannotAttach: anything but LoRA on linear maps is trained (raised when training begins), or it is sharded.

    Example:
        >>> rank_one_ewc(OwnText(((1, 2, 3),)), strength=0.5).point
        'loss'

    Source: Wang, Gupta, Dong, MacLellan 2025, arXiv:2509.23593, abstract only: for diffusion models.
    Differs: on LoRA's effective update, of language models; replay by the rows' own loss, where the paper distils. `core.fisher.rows`
        has the same direction of any small model, and the claim shows it on a denoiser.
    Limits: the spring resists a lower loss of the text as well as a higher one. On text that the base wrote itself the mean
        gradient is noise around zero. Keeps d_out d_in float32 numbers per matrix.
    """
    return _ReplayAndSpring(text, strength, replay, n_rows, budget)
