"""A-GEM: the part of the task's gradient that works against some text is removed."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.adapter.updates import refuse_shards
from despur.core.errors import BadInput, CannotAttach
from despur.core.model.capture import log_probs
from despur.core.model.own_text import OwnText
from despur.core.text.rows import pad_rows


@final
class _NoConflict(Edit):
    point = "gradient"

    def __init__(self, text: OwnText, strength: float, rows_per_step: int) -> None:
        super().__init__()
        if rows_per_step < 1:
            raise BadInput(f"rows_per_step={rows_per_step}; at least 1 is needed")
        self.text, self.strength, self.rows_per_step = text, strength, rows_per_step

    def bind(self, model: nn.Module) -> None:
        config: Any = model.config
        vocabulary: int = config.get_text_config().vocab_size
        if self.strength and max(max(r) for r in self.text.rows) >= vocabulary:
            raise CannotAttach(
                f"the text contains token ids beyond this model's vocabulary of {vocabulary}. Sample it again"
            )

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        trained = {n for n, p in ctx.model.named_parameters() if p.requires_grad}
        names = [n for n in tensors if n in trained]
        if not self.strength or not names:
            return tensors
        refuse_shards(ctx.model, "a-gem")
        text = self._text_gradient(ctx, names)
        along = sum(float((tensors[n].double() * text[n].double()).sum()) for n in names)
        size = sum(float(text[n].double().square().sum()) for n in names)
        if along >= 0 or not size:  # a step along the task's gradient does the text no harm
            return tensors
        share = self.strength * along / size
        return {**tensors, **{n: tensors[n] - share * text[n].to(tensors[n]) for n in names}}

    def _text_gradient(self, ctx: Context, names: list[str]) -> dict[str, Tensor]:
        """Gradient of the text's language-model loss on a few rows."""
        chosen = torch.randint(len(self.text.rows), (self.rows_per_step,), generator=ctx.rng).tolist()
        weights = [ctx.model.get_parameter(n) for n in names]
        ids, mask = (x.to(weights[0].device) for x in pad_rows([self.text.rows[i] for i in chosen], 0))
        with torch.enable_grad():
            logp = log_probs(ctx.model, ids, mask)[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
            loss = -(logp * mask[:, 1:]).sum() / mask[:, 1:].sum()
            grads: Any = torch.autograd.grad(loss, weights, allow_unused=True)
        return {n: torch.zeros_like(w) if g is None else g for n, w, g in zip(names, weights, grads, strict=True)}


@method(room="guard", paper="Chaudhry et al. 2019 (A-GEM), arXiv:1812.00420", cost=2.0)
def a_gem(text: OwnText, *, strength: float = 1.0, rows_per_step: int = 16) -> Edit:
    """Remove the part of the task's gradient that works against some text; where the two agree, leave it unchanged.

    A constraint in place of a penalty: no weight has to be chosen, and a step that does the text no harm is the task's own.
    Choose it over `rehearse` where the task must not pay more than needed. A step costs one forward and backward pass over
    `rows_per_step` rows more.

        g <- g - strength (g . g_text / |g_text|²) g_text   where g . g_text < 0,   g_text = d loss(text) / d w

    Args:
        text: Own text; see `OwnText.sample`.
        strength: Share of the conflict that is removed, in [0, 1]; 0 leaves training bit-identical.
        rows_per_step: Rows of text in each step.

    Returns:
        Edit at "gradient".

    Raises:
        BadInput: fewer than 1 row per step.
        CannotAttach: the text has tokens that the model lacks (raised when training begins), or the weights are sharded.

    Example:
        >>> a_gem(OwnText(((1, 2, 3),)), rows_per_step=4).point
        'gradient'

    Source: Chaudhry et al. 2019, arXiv:1812.00420.
    Differs: the memory is text that the base wrote, in place of rows of former tasks; LoRA's matrices together are one vector.
    Limits: a constraint on the gradient, which Adam's moments and scales carry out of it again; and the loss of text that the
        base itself wrote is near its minimum at the start, where its gradient is noise.
    """
    return _NoConflict(text, strength, rows_per_step)
