"""dft: learn each token in proportion to how likely it is already (dynamic fine-tuning)."""

from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from despur.core import Context, Edit, Site, method
from despur.core.errors import BadInput, CannotAttach
from despur.guard._heads import head_name, words_site


@final
class _Weighted(Edit):
    """Weighs the gradient of each position's logits by the probability of the token that follows."""

    point = "activation"

    def __init__(self, strength: float) -> None:
        super().__init__()
        if not 0 <= strength <= 1:
            raise BadInput(f"strength={strength:g}; it is a share, from 0 to 1")
        self.strength = strength
        self.head, self.words = Site(), Site()
        self.reading: Tensor | None = None

    def bind(self, model: nn.Module) -> None:
        """Find where tokens come in, and the head."""
        self.words, self.head, self.reading = words_site(model, "dft"), Site(head_name(model, "dft"), "out"), None
        self.sites = (self.words, self.head)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Note the tokens that come in (b, t); weigh the gradients of the logits (b, t, v)."""
        if self.strength == 0:
            return tensors
        if self.words.module in tensors:
            self.reading = tensors[self.words.module]
        if self.head.module not in tensors or self.reading is None:
            return tensors
        logits, ids = tensors[self.head.module], self.reading
        if logits.shape[:2] != ids.shape:
            raise CannotAttach(
                f"the head gives {tuple(logits.shape[:2])} positions of a batch of {tuple(ids.shape)}, so dft cannot tell which. Let the "
                'trainer compute the logits of every token (no logits_to_keep, no packing), or take TRL\'s own loss_type="dft"'
            )
        return {**tensors, self.head.module: _WeighGradient.apply(logits, self._weights(logits, ids))}

    def _weights(self, logits: Float[Tensor, "b t v"], ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t 1"]:
        with torch.no_grad():
            following = ids.roll(-1, 1)[..., None]  # what follows the last token is never learned
            chosen = logits.gather(-1, following).float() - logits.float().logsumexp(-1, keepdim=True)
            return 1 - self.strength + self.strength * chosen.exp()


class _WeighGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        return grads[0] * weights.to(grads[0].dtype), None


@method(room="guard", paper="Wu et al. 2025 (DFT), arXiv:2508.05629", cost=1.0)
def dft(*, strength: float = 1.0) -> Edit:
    """Learn each token in proportion to how likely it is already.

    What the model would hardly say itself carries next to no gradient: a fine-tune then sharpens what is there, and is said to forget
    less. Needs nothing at all, and costs nothing a step; with `keep-inputs` beside it at a third it is ASFT (arXiv:2509.23753), a flag of
    LLaMA-Factory.

        loss = mean_t -sg(1 - strength + strength p_t) log p_t,  p_t the probability of the token that is learned

    Args:
        strength: Share of the weight that is p_t; 0 leaves training bit-identical.

    Returns:
        Edit at "activation", of the gradient of the head's output.

    Raises:
        BadInput: a strength above 1.
        CannotAttach: a model whose head or embedding is not a module of its own (raised when training begins); a trainer that computes
            logits of some positions only, or none (raised there).

    Example:
        >>> dft(strength=0.5).point
        'activation'

    Source: Wu et al. 2025, arXiv:2508.05629, equation for a token's loss; TRL has it as `loss_type="dft"`.
    Differs: the printed loss stays the plain one, as gradients alone are weighed; it works in any loop whose loss reads logits.
    Limits: a new fact is what the model would not say: it is learned slowly. In packed rows the first token of the next row counts as what
        follows.
    """
    return _Weighted(strength)
