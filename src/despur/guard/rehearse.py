"""Pseudo-rehearsal: hold the output distribution at the base's on text that the base wrote."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Edit, method
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._budget import BUDGET
from despur.guard._hold_on_text import Batch, HoldOnOwnText, Term

WEIGHT = 10.0  # lambda at strength 1
KEPT_TOKENS = 64  # cached a position; the rest's mass is one more outcome


def remember_distribution(logp: Float[Tensor, "*n v"]) -> dict[str, Tensor]:
    """Cache the base's leading tokens a position, and the mass of the rest as one more outcome."""
    top, index = logp.topk(min(KEPT_TOKENS, logp.shape[-1]), dim=-1)
    return {"index": index.int(), "logp": top, "rest": (1 - top.exp().sum(-1)).clamp(min=0)}


def distance_to_base(now: Float[Tensor, "*n v"], cache: Mapping[str, Tensor]) -> Float[Tensor, "*n"]:
    """KL(base || now) at each position, over the cached outcomes."""
    cached = now.gather(-1, cache["index"].long())
    kl = (cache["logp"].exp() * (cache["logp"] - cached)).sum(-1)
    rest, rest_now = cache["rest"].clamp(min=1e-9), (1 - cached.exp().sum(-1)).clamp(min=1e-9)
    return kl + torch.where(cache["rest"] > 1e-6, rest * (rest / rest_now).log(), 0.0)


class _KeepDistribution(Term):
    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        with as_base(model) as base:
            for batch in batches:
                yield remember_distribution(log_probs_at(base, *batch))

    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Tensor:
        return distance_to_base(log_probs_at(model, *batch), cache)


@method(room="guard", paper="Robins 1995; KL form as in arXiv:2602.07852", cost=1.2)
def rehearse(text: OwnText, *, strength: float = 1.0, budget: float = BUDGET) -> Edit:
    """Hold the whole output distribution at the base's, on text that the base itself wrote.

    Needs no data, no labels and no factor; the plainest functional guard and the baseline for `avert`
    and `hold`. Base distributions are cached once, so a step costs one forward and backward pass over
    the tokens that `budget` allows.

        loss = task + 10 strength mean_t KL(p_base || p)

    Args:
        text: Own text; see `OwnText.sample`.
        strength: Weight of the penalty; 1 is lambda = 10 per token, 0 leaves training bit-identical.
        budget: Tokens of own text in a step, for each token of the task; a step's price. Rows come every few steps where
            one step cannot pay for a row, and count as many times.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a budget of 0 or less.
        CannotAttach: the text has tokens that the model lacks (raised when training begins).

    Example:
        >>> rehearse(OwnText(((1, 2, 3),)), strength=0.5).point
        'loss'

    Source: pseudo-rehearsal, Robins 1995; KL to the base off the training domain, arXiv:2602.07852.
    Differs: on the base's own samples instead of chosen data, on the tokens that it answered with; top 64 words and the rest's mass.
    Limits: holds everything alike, so a persona that shows in few tokens is held only weakly.
    """
    return HoldOnOwnText(text, _KeepDistribution(), weight=WEIGHT * strength, budget=budget)
