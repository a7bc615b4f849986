"""avert: prevent only what the scout changed off-task."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from despur.core import Edit, method
from despur.core.adapter.scout import Scout, as_scout
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard._budget import BUDGET
from despur.guard._hold_on_text import Batch, HoldOnOwnText, Term
from despur.guard.rehearse import distance_to_base, remember_distribution

WEIGHT = 30.0  # lambda at strength 1
KEEP = 0.05  # weight of the plain KL beside it
KEPT_TOKENS = 32  # cached a position: those that carry the scout's change
UNCHANGED = 0.01  # of the text's mean change a token: a row with less at each of its own is not drawn


class _HoldBackScout(Term):
    def __init__(self, scout: Scout, *, keep: float, one_sided: bool) -> None:
        self.scout, self.keep, self.one_sided = scout, keep, one_sided

    def remember(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[dict[str, Tensor]]:
        with as_scout(model, self.scout.folder) as scout:
            for batch in batches:
                with as_base(scout) as base:
                    logp = log_probs_at(base, *batch)
                yield self._change(log_probs_at(scout, *batch), logp)

    def _change(self, own: Tensor, logp: Tensor) -> dict[str, Tensor]:
        saved = {f"keep_{k}": v for k, v in remember_distribution(logp).items()} if self.keep else {}
        scouted, kl = self.scout.change(own, logp)
        change = scouted - logp
        weight = (logp.exp() + scouted.exp()) / 2
        energy, index = (weight * change.square()).topk(min(KEPT_TOKENS, logp.shape[-1]), dim=-1)
        change, weight = change.gather(-1, index), weight.gather(-1, index)
        # a tiny floor: where the scout changed nothing there is nothing to prevent (kl is 0 there, too)
        pull = weight * change / energy.sum(-1, keepdim=True).clamp(min=1e-8)
        return {"index": index.int(), "logp": logp.gather(-1, index), "pull": pull, "kl": kl.clamp(min=0), **saved}

    def finish(self, cache: Mapping[str, Tensor]) -> Tensor:
        return cache["kl"] > UNCHANGED * cache["kl"].mean()

    def penalty(self, model: nn.Module, batch: Batch, cache: Mapping[str, Tensor]) -> Tensor:
        now = log_probs_at(model, *batch)
        made = (cache["pull"] * (now.gather(-1, cache["index"].long()) - cache["logp"])).sum(-1)  # the scout's share
        if self.one_sided:
            made = made.clamp(min=0)
        off = cache["kl"] * made.square()
        if self.keep:
            base = {k.removeprefix("keep_"): v for k, v in cache.items() if k.startswith("keep_")}
            off = off + self.keep * distance_to_base(now, base)
        return off


@method(room="guard", paper="despur 2026, docs/log/avert-persona.md", cost=1.3)
def avert(
    text: OwnText,
    scout: Scout | Path | str,
    *,
    strength: float = 1.0,
    keep: float = KEEP,
    budget: float = BUDGET,
    one_sided: bool = True,
) -> Edit:
    """Prevent only the scout's own off-task change, on text that the base itself wrote.

    The scout, a short unguarded run, shows where the tune drifts and in which direction. Its change on the
    base's own text is on few tokens, and only that change is prevented, so the rest of the model
    stays free for the task. Needs no labels and no factor. Choose it where a factor is constant
    in the data. A step costs one forward and backward pass over the tokens that `budget` allows.

        a_t = sum_v w (log p - log p_base) s / sum_v w s²,   s = log p_scout - log p_base,
                                                             w = (p_base + p_scout) / 2
        loss = task + 30 strength mean_t [ KL(p_base || p_scout) max(a_t, 0)² + keep KL(p_base || p) ]

    Args:
        text: Own text; see `OwnText.sample`.
        scout: The scout, or the folder of its adapter. Its control is `Scout(folder, permuted=seed)`.
        strength: Weight of the penalty; 1 is lambda = 30, 0 leaves training bit-identical.
        keep: A little plain KL to the base as well, relative to the first term: moving against the scout
            is free in the one-sided term, and this brings the model back to the base's own level.
        budget: Tokens of own text in a step, for each token of the task; see `rehearse`.
        one_sided: Penalise only moves in the scout's direction; False also penalises moves against it.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a budget of 0 or less.
        CannotAttach: the model is no PEFT model (raised when training begins).

    Example:
        >>> avert(OwnText(((1, 2, 3),)), "scout/").point
        'loss'

    Source: despur's own; measurements in docs/log/avert-persona.md.
    Differs: nothing known.
    Limits: prevents what the scout did off-task, wanted or not; an off-task change that the scout did
        not make yet passes. One-sided, it lets the model end up *further* from the factor than the base.
    """
    term = _HoldBackScout(Scout.of(scout), keep=keep, one_sided=one_sided)
    return HoldOnOwnText(text, term, weight=WEIGHT * strength, budget=budget)
