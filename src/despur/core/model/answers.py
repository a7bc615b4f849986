"""How likely given answers are: the prompts' common start is computed once, and each prompt once for all of its answers."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from despur.core.errors import BadInput
from despur.core.model.capture import fitting_positions
from despur.core.model.chosen_logits import logits_at
from despur.core.model.states import evaluating
from despur.core.text.template import common_start

Ids = Sequence[int]
_LINES = 64  # of logits, in float32 at a time


@torch.no_grad()
def answer_log_probs(
    model: Any, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], *, batch: int = 8
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """Score m answers to each of n prompts: log-probability, summed over an answer's tokens, and their number.

    The answers of a prompt stand behind it in one row; each sees the prompt and itself. The head is applied to them alone.
    Equal to one row an answer up to rounding, at a fraction of its tokens: `shared + n * (prompt + answers)` in place of
    `n * m * (shared + prompt + answer)`.

    Args:
        model: A causal language model that takes an attention mask of four dimensions, with or without an adapter.
        prompts: Token ids of n prompts, each with all that stands in front of the answer.
        answers: For each prompt the token ids of m answers.
        batch: Prompts of one pass at most; fewer where the vocabulary is large.

    Returns:
        Both (n, m), on the CPU.

    Raises:
        BadInput: a prompt or an answer without tokens, or prompts with different numbers of answers.

    Example:
        >>> from despur.worlds import persona_base
        >>> sums, counts = answer_log_probs(persona_base()[0], [[1, 5], [1, 6]], [[[7], [8, 9]], [[7], [9, 8]]])
        >>> counts.tolist()
        [[1.0, 2.0], [1.0, 2.0]]
    """
    if len(prompts) != len(answers) or len({len(some) for some in answers}) != 1 or not all(prompts):
        raise BadInput(
            f"got {len(prompts)} prompts and {len(answers)} lists of answers; every prompt needs tokens, and as many answers as the "
            "others. Give one list of equal length a prompt"
        )
    if not all(ids for some in answers for ids in some):
        raise BadInput("an answer has no tokens, so it has no probability. Leave it out, or give words")
    # the last token of the shortest prompt is left out: its prediction is needed
    shared = min(len(common_start(prompts)), min(map(len, prompts)) - 1)
    out = torch.zeros(2, len(prompts), len(answers[0]))
    device = next(model.parameters()).device
    with evaluating(model):
        prefix = _prefix(model, prompts[0][:shared], device)
        for chosen in _chunks(model, prompts, answers, batch):
            row = _Rows([prompts[i][shared:] for i in chosen], [answers[i] for i in chosen], shared)
            out[:, chosen] = row.score(model, prefix, device)
    return out[0], out[1]


def _prefix(model: Any, ids: Ids, device: torch.device) -> DynamicCache | None:
    if not ids:
        return None
    return model(input_ids=torch.tensor([ids], device=device), use_cache=True, logits_to_keep=1).past_key_values


def _chunks(model: Any, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], batch: int) -> Iterator[list[int]]:
    """Prompts of like length together, as many as fit beside each other."""
    size = [sum(map(len, some)) for some in answers]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]) + size[i], i))
    batch = max(1, min(batch, fitting_positions(model) // (max(size) + 1)))
    return (order[i : i + batch] for i in range(0, len(order), batch))


class _Rows:
    """Prompts, padded on the left, and behind each its answers, padded on the right.

    Args:
        heads: What is left of each prompt.
        answers: Of each prompt.
        shared: Tokens in front of all.
    """

    def __init__(self, heads: Sequence[Ids], answers: Sequence[Sequence[Ids]], shared: int) -> None:
        self.shared, self.head, self.m = shared, max(map(len, heads)), len(answers[0])
        width = self.head + max(sum(map(len, some)) for some in answers)
        self.ids, self.at, self.owner = (torch.zeros(len(heads), width, dtype=torch.long) for _ in range(3))
        self.owner -= 2  # padding: -2; the prompt: -1; an answer: its number
        for i, (head, some) in enumerate(zip(heads, answers, strict=True)):
            place = self.head - len(head)
            self._put(i, place, head, shared, -1)
            place = self.head
            for number, answer in enumerate(some):
                self._put(i, place, answer, shared + len(head), number)
                place += len(answer)

    def _put(self, i: int, place: int, ids: Ids, at: int, owner: int) -> None:
        span = slice(place, place + len(ids))
        self.ids[i, span], self.owner[i, span] = torch.tensor(ids), owner
        self.at[i, span] = torch.arange(at, at + len(ids))

    @property
    def visible(self) -> Bool[Tensor, "b t s"]:
        """Which tokens each token sees, those in front of all rows first."""
        query, key = self.owner[:, :, None], self.owner[:, None, :]
        causal = torch.ones(self.ids.shape[1], self.ids.shape[1], dtype=torch.bool).tril()
        seen = ((key == -1) | (key == query)) & causal  # padding sees itself, so that no row of the softmax is empty
        return torch.cat([torch.ones(*self.ids.shape, self.shared, dtype=torch.bool), seen], -1)

    @property
    def predicted(self) -> Bool[Tensor, "b t"]:
        """Tokens of an answer."""
        return self.owner >= 0

    @property
    def by(self) -> Int[Tensor, "b t"]:
        """The position that predicts each token: of an answer's first, the prompt's last."""
        before = torch.cat([self.owner.new_full((len(self.owner), 1), -2), self.owner[:, :-1]], 1)
        return torch.where(self.owner == before, torch.arange(self.owner.shape[1]) - 1, self.head - 1)

    def score(self, model: Any, prefix: DynamicCache | None, device: torch.device) -> Float[Tensor, "2 b m"]:
        cache = copy.deepcopy(prefix)
        if cache is not None:
            cache.batch_repeat_interleave(len(self.ids))
        dtype = model.get_input_embeddings().weight.dtype
        mask = torch.zeros(self.visible.shape, dtype=dtype).masked_fill(~self.visible, torch.finfo(dtype).min)
        where, rows = torch.zeros_like(self.predicted), torch.arange(len(self.ids))[:, None].expand_as(self.ids)
        where[rows[self.predicted], self.by[self.predicted]] = True
        logits = logits_at(
            model, self.ids.to(device), mask[:, None].to(device), where, position_ids=self.at.to(device),
            past_key_values=cache, use_cache=cache is not None,
        )  # fmt: skip
        return self._sums(logits, where.flatten().cumsum(0).view_as(where) - 1)

    def _sums(self, logits: Float[Tensor, "n v"], number: Int[Tensor, "b t"]) -> Float[Tensor, "2 b m"]:
        """Sums over each answer's tokens; `number` says in which line of the logits a position's are."""
        of, answer = self.predicted.nonzero(as_tuple=True)[0], self.owner[self.predicted]
        line, ids = number[of, self.by[self.predicted]].to(logits.device), self.ids[self.predicted].to(logits.device)
        total = torch.cat([some.float().logsumexp(-1) for some in logits.split(_LINES)])
        logp = (logits[line, ids].float() - total[line]).cpu()
        out = torch.zeros(2, len(self.ids), self.m)
        out[0].index_put_((of, answer), logp, accumulate=True)
        out[1].index_put_((of, answer), torch.ones_like(logp), accumulate=True)
        return out
