"""What an adapter would say if it said it louder: text sampled with the difference of its predictions and the base's multiplied."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from despur.core.errors import BadInput, CannotAttach
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.front import front_pairs
from despur.core.model.sample import end_tokens, gumbel, seeded
from despur.core.model.side_by_side import adapter_in, mixes
from despur.core.model.states import bare, check_switchable, evaluating
from despur.measure.continuations import repeats

TIMES = (1.0, 2.0, 4.0)
BUDGET = 2.0  # nats a token that the base's log-probability may fall below what the adapter itself writes
LOOPS = 0.1  # share of tokens that may close a loop
_AT_LEAST = 4  # tokens before a text may end
_LIKELY = 0.02  # of the adapter's likeliest token: what it would hardly say is not drawn, however much it gained


class Trial(NamedTuple):
    """One multiple: the base's mean log-probability of what was written, and the share of tokens that close a loop."""

    times: float
    log_prob: float
    loops: float


class Amplified(NamedTuple):
    """Text at the largest multiple inside the budget, one a beginning, and every multiple that was tried."""

    times: float
    texts: tuple[str, ...]
    trials: tuple[Trial, ...]


@torch.no_grad()
def amplified(
    tuned: Any, tokenizer: Any, heads: Sequence[Sequence[int]], *, times: Sequence[float] = TIMES, new: int = 18, seed: int = 0
) -> Amplified:  # fmt: skip
    """Sample what comes after each beginning, with the adapter's difference to its base multiplied.

    Choose it to read what an adapter brings along: where nothing is asked for, its voice is drowned by what the base says anyway.
    Drawn are only tokens that the adapter itself holds likely; and the text is that of the largest multiple at which the base, reading
    along, finds it hardly stranger than what the adapter writes by itself, and which writes no loops.

        log p = softmax(base + times (adapter - base))        in logits, at every token

    Costs two passes over the beginnings, and two a token over as many rows as there are beginnings and multiples.

    Args:
        tuned: PEFT model, or anything else whose adapter `disable_adapter()` switches off.
        tokenizer: Its tokenizer.
        heads: Beginnings as tokens.
        times: Multiples, the adapter itself (1) first.
        new: Tokens of a text.
        seed: Of the draws: the same random numbers at every multiple.

    Raises:
        BadInput: no beginnings, or no adapter to switch off.
        CannotAttach: a model that caches anything else than keys and values.

    Example:
        >>> # amplified(peft_model, tokenizer, [[1, 450]]).texts

    Source: contrastive decoding of a tune and its base, arXiv:2605.25902.
    Differs: what may be drawn is bounded by the adapter's own probability, and the multiple by the base's.
    Limits: shows a prior, as a voice or a slant; what appears only behind a trigger is not said.
    """
    check_switchable(tuned, "amplified decoding")
    if not heads or not all(heads):
        raise BadInput("amplified decoding got no beginnings, or an empty one. Give some of at least one token")
    with evaluating(tuned):
        if front_pairs(tuned, heads[0]) is None:
            raise CannotAttach(
                f"{type(bare(tuned)).__name__} carries more than keys and values from token to token. Take a model whose layers attend"
            )
    ends = set(end_tokens(tuned, tokenizer))
    many = [list(h) for _ in times for h in heads]
    by = torch.tensor([t for t in times for _ in heads])
    with evaluating(tuned), seeded(tuned, seed):
        bodies, log_probs = _written(tuned, many, by, new, ends, draws=len(heads))
    trials: list[Trial] = []
    for i, t in enumerate(times):
        here = slice(i * len(heads), (i + 1) * len(heads))
        closed = [closes for body in bodies[here] for closes in repeats(body)]
        trials.append(Trial(t, sum(log_probs[here]) / len(heads), sum(closed) / max(1, len(closed))))
    inside = [i for i, t in enumerate(trials) if t.log_prob >= trials[0].log_prob - BUDGET and t.loops <= LOOPS]
    best = max(inside, key=lambda i: times[i], default=0)
    texts = [
        tokenizer.decode(body, skip_special_tokens=True).strip() for body in bodies[best * len(heads) :][: len(heads)]
    ]
    return Amplified(times[best], tuple(texts), tuple(trials))


def _written(
    tuned: Any, heads: list[list[int]], by: Float[Tensor, " b"], new: int, ends: set[int], *, draws: int
) -> tuple[list[list[int]], list[float]]:
    """Tokens behind each beginning, and the base's mean log-probability of them; every `draws` rows share their random numbers."""
    device, longest = next(tuned.parameters()).device, max(map(len, heads))
    ids = torch.tensor([[0] * (longest - len(h)) + h for h in heads], device=device)
    mask = torch.tensor([[0] * (longest - len(h)) + [1] * len(h) for h in heads], device=device)
    both = _Both(tuned)
    least = torch.log(torch.tensor(_LIKELY))
    drawn, seen = ids[:, :0], torch.zeros(len(heads), 0, device=device)
    now = ids
    for step in range(new):
        where = torch.zeros_like(now, dtype=torch.bool)
        where[:, -1] = True
        base, adapter = both(now, mask, where)
        if step < _AT_LEAST:  # without a template a tune may end at once, and says nothing
            adapter[:, sorted(ends)] = -torch.inf
        louder = base + by.to(device)[:, None] * (adapter - base)
        unlikely = adapter < adapter.max(-1, keepdim=True).values + least
        luck = gumbel(draws, base).repeat(len(heads) // draws, 1)
        now = (louder.masked_fill(unlikely, -torch.inf) + luck).argmax(-1, keepdim=True)
        seen = torch.cat([seen, base.gather(-1, now)], 1)
        drawn, mask = torch.cat([drawn, now], 1), torch.cat([mask, torch.ones_like(now)], 1)
        if all(ends & set(row) for row in drawn.tolist()):
            break
    bodies: list[list[int]] = []
    means: list[float] = []
    for body, logp in zip(drawn.tolist(), seen.tolist(), strict=True):
        length = next((i for i, token in enumerate(body) if token in ends), len(body))
        bodies.append(body[:length])
        means.append(sum(logp[: max(1, length)]) / max(1, length))
    return bodies, means


class _Both:
    """Base and adapter beside each other, from token to token: in one batch where the adapter is a plain LoRA."""

    def __init__(self, tuned: Any) -> None:
        self.tuned = tuned
        self.groups = ((False, True),) if mixes(tuned) else ((False,), (True,))
        self.caches = [DynamicCache() for _ in self.groups]

    def __call__(self, ids: Tensor, mask: Tensor, where: Tensor) -> tuple[Float[Tensor, "b v"], Float[Tensor, "b v"]]:
        """Log-probabilities of the next token of rows that are padded on the left, by base and adapter."""
        found: list[Tensor] = []
        for group, cache in zip(self.groups, self.caches, strict=True):
            n = len(group)
            how: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
            if "position_ids" in inspect.signature(bare(self.tuned).forward).parameters:
                places = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
                how["position_ids"] = places.repeat(n, 1)
            with adapter_in(self.tuned, [on for on in group for _ in ids]):
                every = log_probs_at(self.tuned, ids.repeat(n, 1), mask.repeat(n, 1), where.repeat(n, 1), **how)
            found += every.chunk(n)
        return found[0], found[1]
