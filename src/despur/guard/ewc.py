"""EWC: a quadratic penalty on every weight, as stiff as the base's own text needs it."""

from collections.abc import Mapping
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.adapter.updates import Pair, flows, linear_pairs, refuse_shards
from despur.core.errors import BadInput
from despur.core.model.capture import fitting_batch, log_probs
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base, evaluating
from despur.core.text.rows import batches
from despur.guard._vocabulary import check_vocabulary

WEIGHT = 300.0  # lambda at strength 1
Form = Literal["diagonal", "rank one"]


def fisher_diagonal(
    model: nn.Module, modules: list[str], text: OwnText, *, seed: int
) -> dict[str, Float[Tensor, "d_out d_in"]]:
    """Mean over tokens of the squared per-row gradient of log p(y), y drawn from the base itself at every position.

    Draws of one row are independent, so the cross terms of a row's squared gradient vanish on average: the row's sum is an
    unbiased estimate of its tokens' Fisher diagonals together.
    """
    draw = torch.Generator().manual_seed(seed)
    total: dict[str, Tensor] = {}
    with as_base(model) as base:
        device = next(base.parameters()).device
        for ids, mask, _ in batches(text.rows, size=min(16, fitting_batch(base, text.rows)), pad=0):
            ids, mask = ids.to(device), mask.to(device)

            def sampled(model: nn.Module, ids: Tensor = ids, mask: Tensor = mask) -> Tensor:
                logp = log_probs(model, ids, mask)
                labels = torch.multinomial(logp.detach().exp().flatten(0, 1).cpu(), 1, generator=draw).to(device)
                return (logp.flatten(0, 1).gather(1, labels).view(ids.shape) * mask).sum()

            for name, (x, delta) in flows(base, modules, sampled).items():
                found = total.setdefault(name, torch.zeros(delta.shape[-1], x.shape[-1], device=device))
                for row in range(len(ids)):
                    found += (delta[row].T @ x[row]).square_()
    tokens = sum(map(len, text.rows))
    return {name: value / tokens for name, value in total.items()}


def mean_gradient(model: nn.Module, modules: list[str], text: OwnText) -> dict[str, Float[Tensor, "d_out d_in"]]:
    """Gradient of the text's mean log-probability per token, at the base."""
    total: dict[str, Tensor] = {}
    with as_base(model) as base:
        device = next(base.parameters()).device
        for ids, mask, _ in batches(text.rows, size=min(16, fitting_batch(base, text.rows)), pad=0):
            ids, mask = ids.to(device), mask.to(device)

            def log_likelihood(model: nn.Module, ids: Tensor = ids, mask: Tensor = mask) -> Tensor:
                logp = log_probs(model, ids, mask)[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
                return (logp * mask[:, 1:]).sum()

            for name, (x, delta) in flows(base, modules, log_likelihood).items():
                part = torch.einsum("bto,bti->oi", delta, x)
                total[name] = total[name] + part if name in total else part
    tokens = sum(len(r) - 1 for r in text.rows)
    return {name: value / tokens for name, value in total.items()}


@final
class _Spring(Edit):
    point = "loss"

    def __init__(self, text: OwnText, form: Form, weight: float, rows: int, seed: int) -> None:
        super().__init__()
        if form not in ("diagonal", "rank one") or rows < 1:
            raise BadInput(
                f"form={form!r}, n_rows={rows}; form is 'diagonal' or 'rank one', and at least 1 row is needed"
            )
        self.text, self.weight, self.seed = OwnText(text.rows[:rows], text.origin), weight, seed
        self.form: Form = form
        self.pairs: dict[str, Pair] = {}
        self.stiffness: dict[str, Tensor] = {}

    def bind(self, model: nn.Module) -> None:
        """Measure the base's Fisher information on the text, once."""
        if not self.weight:
            return
        self.pairs = linear_pairs(model, "ewc")
        check_vocabulary(model, self.text.rows, "the text")
        with evaluating(model):
            if self.form == "diagonal":
                self.stiffness = fisher_diagonal(model, list(self.pairs), self.text, seed=self.seed)
            else:
                self.stiffness = mean_gradient(model, list(self.pairs), self.text)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not self.weight:
            return tensors
        refuse_shards(ctx.model, "ewc")
        parts: list[Tensor] = []
        for name, pair in self.pairs.items():
            down, up = pair.factors(ctx.model)
            stiffness = self.stiffness[name]
            parts.append(
                (stiffness * (up @ down).square()).sum()
                if self.form == "diagonal"
                else ((up.T @ stiffness) * down).sum()
            )
        total = torch.stack(parts).sum()
        penalty = total if self.form == "diagonal" else total.square()
        return {**tensors, "loss": tensors["loss"] + self.weight / 2 * penalty}


@method(room="guard", paper="Kirkpatrick et al. 2017, arXiv:1612.00796", cost=2.0)
def ewc(text: OwnText, *, strength: float = 1.0, form: Form = "diagonal", n_rows: int = 256, seed: int = 0) -> Edit:
    """Hold each weight to the base's as stiffly as some text needs it (elastic weight consolidation).

    The text is read once, before training, and then only the weights are used: cheaper a step than `rehearse`, and
    right only near the base. The stiffness is the base's own Fisher information: half of the sum is KL(p_base || p) per token for
    small changes but for the terms between two weights. A low-rank update moves many together, hence a larger lambda.

        loss = task + (300 strength / 2) sum_ij F_ij (s B A)_ij²,   F = mean_t E_{y ~ p_base} (d log p(y) / d W)²
        "rank one":   (300 strength / 2) (sum <g, s B A>)²,         g = mean_t d log p(text) / d W

    Args:
        text: Own text, or generic text.
        strength: Weight of the penalty; 1 is lambda = 300, 0 leaves training bit-identical.
        form: Fisher information as its diagonal, or as the outer product of the text's mean gradient.
        n_rows: Rows of text that are read.
        seed: Seed of the drawn labels.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: a form that is not known.
        CannotAttach: anything but LoRA on linear maps is trained (raised when training begins), or it is sharded.

    Example:
        >>> ewc(OwnText(((1, 2, 3),)), strength=0.5).point
        'loss'

    Source: Kirkpatrick et al. 2017, arXiv:1612.00796; rank one: arXiv:2509.23593, abstract only.
    Differs: on LoRA's effective update; true Fisher (labels drawn, gradients squared a row at a time), where most code squares
        a batch's mean. The rank-one paper adds replay.
    Limits: keeps d_out d_in float32 numbers per matrix, as many as the adapted weights, and multiplies B A out in each step. On
        text that the base wrote itself the mean gradient is noise around zero, so "rank one" needs other text.
    """
    return _Spring(text, form, WEIGHT * strength, n_rows, seed)
