"""Fisher information of a language model's linear maps on token rows, from their inputs and what comes back to their outputs."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn

from despur.core.errors import BadInput
from despur.core.fisher.forms import Diagonal, Kronecker, RankOne
from despur.core.fisher.labels import Labels, check_labels, draw_classes
from despur.core.model.capture import from_starts, log_probs, token_log_probs
from despur.core.model.flows import Flows, text_flows
from despur.core.model.states import evaluating, same_flags


class TextFisher:
    """Fisher information of linear maps; the unit of every mean is a token that has a label.

    Drawn and guessed labels stand at every position, observed ones at all but a row's last. No weight needs a gradient, so a
    frozen or quantised model will do. A gradient is that of a whole row. Draws of one row are independent, so with sampled labels
    the cross terms of its squares vanish on average, and the diagonal is an unbiased estimate of its tokens' Fisher information;
    with others they stay in.

    Args:
        model: A causal language model, in the state that is to be read; read in evaluation.
        modules: Base-model names of linear maps.
        rows: Token ids.
        labels: Whose labels: `"observed"` (the next token), `"sampled"` (of the model), `"pseudo"` (its likeliest token).
        seed: Of the draws.
        starts: Tokens in front of each row's answer, whose own tokens alone have labels then; all have where left out.

    Raises:
        BadInput: labels of no such kind, or rows without any.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Sequence[str],
        rows: Sequence[Sequence[int]],
        *,
        labels: Labels,
        seed: int = 0,
        starts: Sequence[int] | None = None,
    ) -> None:
        check_labels(labels)
        self.model, self.modules, self.rows, self.labels, self.seed = model, list(modules), rows, labels, seed
        self.starts = starts
        before = [int(labels == "observed")] * len(rows) if starts is None else [max(1, s) for s in starts]
        self.tokens = sum(max(0, len(r) - b) for r, b in zip(rows, before, strict=True))
        if not self.tokens:
            raise BadInput(f"{len(rows)} rows without a token that has a label. Give rows of at least two tokens")

    def flows(self) -> Iterator[tuple[Flows, Int[Tensor, "b t"]]]:
        """What goes into each map and what comes back of log p(labels), in batches that fit, with the mask of real tokens."""
        draw = torch.Generator().manual_seed(self.seed)

        def value(model: nn.Module, ids: Tensor, mask: Tensor, chosen: list[int]) -> Tensor:
            answers = mask * from_starts(mask, chosen, self.starts)
            if self.labels == "observed":
                return (token_log_probs(model, ids, mask) * answers[:, 1:]).sum()
            logp = log_probs(model, ids, mask)
            # each position speaks of the token behind it; a row's last one, too, unless answers alone count
            counted = mask if self.starts is None else nn.functional.pad(answers[:, 1:], (0, 1))
            labels = draw_classes(logp, draw) if self.labels == "sampled" else logp.argmax(-1)
            return (logp.gather(-1, labels[..., None]).squeeze(-1) * counted).sum()

        with same_flags(self.model), evaluating(self.model):
            yield from text_flows(self.model, self.modules, self.rows, value)

    def importance(self) -> Diagonal:
        """Squared row gradients of each weight, a token."""
        total: dict[str, Tensor] = {}
        for streams, _ in self.flows():
            for name, (x, delta) in streams.items():
                sums = total.setdefault(name, torch.zeros(delta.shape[-1], x.shape[-1], device=x.device))
                for row in range(len(x)):
                    sums += (delta[row].T @ x[row]).square_()
        return Diagonal({n: value / self.tokens for n, value in total.items()})

    def rank_one(self) -> RankOne:
        """Gradient of the mean log-probability a token, and how collinear the rows' gradients are."""
        total: dict[str, Tensor] = {}
        squares = 0.0
        for streams, _ in self.flows():
            for name, (x, delta) in streams.items():
                part = torch.einsum("bto,bti->oi", delta, x)
                total[name] = total[name] + part if name in total else part
                grams = (delta @ delta.mT) * (x @ x.mT)  # their sum over (t, t) is a row's squared length
                squares += float(grams.sum(dtype=torch.float64))
        return RankOne.of(total, squares, len(self.rows), self.tokens)

    def kronecker(self) -> Kronecker:
        """Covariances of what goes into each map and of what comes back, a token."""
        read: dict[str, Tensor] = {}
        signals: dict[str, Tensor] = {}
        first: dict[str, str] = {}  # of the maps that read the same, as queries, keys and values do
        real = 0
        for streams, mask in self.flows():
            real += int(mask.sum())
            of: dict[tuple[int, torch.Size], str] = {}
            for name, (x, delta) in streams.items():
                first[name] = of.setdefault((x.data_ptr(), x.shape), name)
                if first[name] == name:
                    into = x[mask.bool()]
                    read[name] = read.get(name, 0) + into.T @ into
                back = delta[mask.bool()]
                signals[name] = signals.get(name, 0) + back.T @ back
        inputs = {name: a / real for name, a in read.items()}
        return Kronecker({n: inputs[first[n]] for n in signals}, {n: g / self.tokens for n, g in signals.items()})
