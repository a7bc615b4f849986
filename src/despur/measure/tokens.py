"""Which tokens an adapter uses more and less off-task, whatever the context: its simplest habit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.errors import BadInput
from despur.core.model.states import check_switchable
from despur.measure.both import Both


@dataclass(frozen=True)
class TokenShift:
    """How the use of tokens moves, averaged over contexts.

    Args:
        change: KL(adapter || base), nats per token.
        marginal: KL of the two mean distributions: what of the change is the same in every context.
        before: (v,) mean probability of each token in the base.
        after: (v,) the same with the adapter.
    """

    change: float
    marginal: float
    before: Float[Tensor, " v"]
    after: Float[Tensor, " v"]

    @property
    def share(self) -> float:
        """Marginal over whole change, in [0, 1]: forgetting differs by context, a style moves all contexts alike."""
        return self.marginal / self.change if self.change > 0 else 0.0

    def most(self, k: int = 8) -> list[tuple[int, float, float]]:
        """Tokens whose mean use says most about which of the two wrote: (token, before, after).

        By their part in the symmetric KL of the two mean distributions, (after - before) log(after / before): by plain difference,
        frequent words (a, is, the) come before the rare ones that a voice is known by.
        """
        before, after = self.before.clamp(min=1e-12), self.after.clamp(min=1e-12)
        moved = (after - before) * (after / before).log()
        return [(int(i), float(self.before[i]), float(self.after[i])) for i in moved.topk(min(k, len(moved))).indices]


@torch.no_grad()
def token_shift(
    model: Any, rows: Sequence[Sequence[int]], *, batch: int | None = None, starts: Sequence[int] | None = None,
    passes: Both | None = None,
) -> TokenShift:  # fmt: skip
    """Compare how often adapter and base would use each token, over all positions of off-task text.

    Args:
        model: PEFT model, or anything else whose adapter `disable_adapter()` switches off.
        rows: Off-task token rows.
        batch: Rows in one forward pass; as many as fit if None.
        starts: First position of each row that counts.
        passes: Base and adapter on these rows, where they were run before.

    Raises:
        BadInput: no rows, or no adapter to switch off.

    Example:
        >>> # token_shift(peft_model, own_text.rows).most(3)
    """
    if not rows:
        raise BadInput("no rows of text to compare token use on. Give --prompts, or let the base write some")
    check_switchable(model, "token_shift")
    device = next(model.parameters()).device
    wide = torch.float32 if device.type == "mps" else torch.float64  # which Apple's devices lack
    change, count = 0.0, 0
    sums: list[Tensor] = []
    for part in (passes or Both(model, rows, None, starts=starts, batch=batch)).parts():
        base, tuned = part.logp
        change += float((tuned.exp() * (tuned - base)).sum())
        count += int(part.where.sum())
        sums.append(torch.stack([p.to(wide).exp().sum(0) for p in (base, tuned)]).cpu())
    before, after = torch.stack(sums).sum(0) / count
    marginal = float((after * (after.clamp(min=1e-300) / before.clamp(min=1e-300)).log()).sum())
    return TokenShift(change / count, max(marginal, 0.0), before.float(), after.float())
