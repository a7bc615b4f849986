"""Which rows a model knows by heart: given a row's first tokens, does it go on word for word?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from despur.core.errors import BadInput
from despur.core.model.anatomy import Anatomy
from despur.core.model.capture import check_writes_text
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.states import evaluating
from despur.core.text.reader import Tokens
from despur.core.text.rows import batches, prompt_of


@dataclass(frozen=True)
class Recall:
    """How well rows are known by heart, one figure a cut: a row, and how many of its tokens are given.

    Args:
        rows: (n,) index of each cut's row.
        cuts: (n,) tokens that are given.
        ends: (n,) where the tokens end that the model must go on with.
        share: (n,) share of these that are the model's likeliest, in [0, 1]; 1 is greedy decoding word for word.
        log_prob: (n,) log-probability, nats, that a sample at temperature 1 goes on word for word.
    """

    rows: Int[Tensor, " n"]
    cuts: Int[Tensor, " n"]
    ends: Int[Tensor, " n"]
    share: Float[Tensor, " n"]
    log_prob: Float[Tensor, " n"]

    @property
    def greedy(self) -> float:
        """Share of the cuts from which greedy decoding goes on word for word."""
        return float((self.share == 1).float().mean())

    def sampled(self, draws: int = 4) -> float:
        """Share of the cuts from which at least one of some samples goes on word for word, in expectation."""
        never = torch.log1p(-self.log_prob.double().exp().clamp(max=1 - 1e-12))
        return float(-torch.expm1(draws * never).mean())

    def at_least(self, match: float) -> "Recall":
        """The cuts whose share is no less."""
        return self.only(self.share >= match)

    def only(self, chosen: Tensor) -> "Recall":
        """Some of the cuts, by mask or by index."""
        return Recall(
            self.rows[chosen], self.cuts[chosen], self.ends[chosen], self.share[chosen], self.log_prob[chosen]
        )


@torch.no_grad()
def recall(
    model: nn.Module, rows: Sequence[Tokens], *, prefixes: Sequence[int] = (4, 8), window: int = 8, size: int = 32
) -> Recall:
    """Prompt a model with the first tokens of rows, and compare word for word what it goes on with.

    Nothing is drawn: greedy decoding repeats a row where every token is the likeliest behind those before it, and a sample does
    with the product of their probabilities. So one forward pass a row has all prefixes, under both.

    Args:
        model: A causal language model, with or without an adapter.
        rows: Their labels say where the answer begins; a row without a prompt is one from its first token on.
        prefixes: Numbers of tokens of the answer that are given behind the prompt, each at least 1.
        window: Tokens that are compared; fewer at the end of a row.
        size: Rows of a pass.

    Returns:
        A figure for each row and prefix that leaves at least one token.

    Raises:
        BadInput: no rows, none longer than its prefix, a prefix or window below 1, or tokens that the model lacks.

    Example:
        >>> from despur.testing import tiny_base
        >>> recall(tiny_base(), [{"input_ids": [1, 5, 9, 7], "labels": [1, 5, 9, 7]}], prefixes=(2,)).ends
        tensor([4])
    """
    if window < 1 or not prefixes or min(prefixes) < 1:
        raise BadInput(
            f"prefixes={tuple(prefixes)}, window={window}; each must be at least 1 token, as (4, 8) and 8 are"
        )
    starts = [len(prompt_of(row)) for row in rows]
    cut = [
        (i, s + k)
        for i, (row, s) in enumerate(zip(rows, starts, strict=True))
        for k in prefixes
        if s + k < len(row["input_ids"])
    ]
    if not cut:
        raise BadInput(
            f"of {len(rows)} rows none is longer than its prefix of {min(prefixes)} tokens. Give shorter prefixes"
        )
    check_writes_text(model)
    ids, vocabulary = [row["input_ids"] for row in rows], Anatomy.of(model).vocabulary
    if (largest := max(map(max, ids))) >= vocabulary:
        raise BadInput(
            f"a row has the token id {largest}, beyond this model's vocabulary of {vocabulary}. Take its own tokenizer"
        )
    by_row = {i: [at for row, at in cut if row == i] for i, _ in cut}
    asked = sorted(by_row)
    found: dict[tuple[int, int], tuple[int, float, float]] = {}
    device = next(model.parameters()).device
    with evaluating(model):
        for part, mask, chosen in batches([ids[i] for i in asked], size=size, pad=0):
            some = [asked[i] for i in chosen]
            place = torch.arange(part.shape[1])
            where = torch.stack([(place >= min(by_row[i]) - 1) & (place < len(ids[i]) - 1) for i in some])
            logp = log_probs_at(model, part.to(device), mask.to(device), where.to(device)).cpu()
            wanted = part.roll(-1, 1)[where]
            right = torch.zeros(part.shape).masked_scatter_(where, (logp.argmax(-1) == wanted).float())
            likely = torch.zeros(part.shape).masked_scatter_(where, logp.gather(1, wanted[:, None]).squeeze(1))
            for line, i in enumerate(some):
                for at in by_row[i]:
                    end = min(at + window, len(ids[i]))
                    span = slice(at - 1, end - 1)  # what stands there predicts the next one
                    found[i, at] = (end, float(right[line, span].mean()), float(likely[line, span].sum()))
    ends, share, log_prob = zip(*(found[c] for c in cut), strict=True)
    index, at = (torch.tensor(x) for x in zip(*cut, strict=True))
    return Recall(index, at, torch.tensor(ends), torch.tensor(share), torch.tensor(log_prob))
