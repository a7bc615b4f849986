"""Would the tuning rows pull a model along a direction? The slope of their loss at the base, by one backward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from despur.core import Context, Edit, Site, Subspace, attach
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.model.matched import Axes, matched_random
from despur.core.model.states import check_switchable, evaluating
from despur.core.text.rows import Tokens, batches, pad_rows


@dataclass(frozen=True)
class LossSlope:
    """How the loss on some rows begins to change when the stream is moved.

    Args:
        slope: d loss / d s at s = 0, the stream moved by s times the shift; nats an answer token.
        random: The same for random directions of the shift's length and activation share.
    """

    slope: float
    random: tuple[float, ...]

    @property
    def steepness(self) -> float:
        """Slope in units of what random directions have, negative downhill; 0 where they have none."""
        spread = (sum(r * r for r in self.random) / max(len(self.random), 1)) ** 0.5
        return self.slope / spread if spread else 0.0


def loss_slopes(
    model: Any,
    rows: Sequence[Tokens],
    shifts: Mapping[str, Tensor],
    site: Site,
    covariance: Float[Tensor, "d d"],
    *,
    n_random: int = 100,
    batch: int = 16,
    seed: int = 0,
) -> dict[str, LossSlope]:
    """Measure how steeply the loss on tuning rows falls when the base's stream is moved along each of some shifts.

    Gradients of the loss are taken at the site once; each direction then costs a dot product. A row's loss is the mean over its
    answer's tokens, and the stream moves at all of its positions, as in steering.

        slope = mean over rows of sum_t d loss / d h_t . shift

    Args:
        model: PEFT model; its base is the model with the adapter off.
        rows: Token rows with labels.
        shifts: Vectors (d,) of the stream, by name, such as the mean change along each candidate.
        site: Where the stream is moved.
        covariance: Of the base's activations there, to match random directions by.
        n_random: Random directions beside each shift.
        batch: Rows in one pass.
        seed: Of the random directions.

    Raises:
        BadInput: no adapter to switch off, no rows, a row without an answer token that is predicted, or a shift of zero.
        ShapeMismatch: a shift of another width than the covariance.

    Example:
        >>> # loss_slopes(peft_model, tokens, {"mean": shift}, site, torch.cov(base_stream.T))["mean"].steepness

    Source: a persona's loss slope at the start, arXiv:2607.04510.
    Limits: first order, at one layer. It shows where the rows push, not what is learned: a task's own directions slope as well.
    """
    if not rows:
        raise BadInput("there are no rows to take the loss slope of. Give the rows that the adapter was trained on")
    for name, shift in shifts.items():
        if shift.shape != covariance.shape[:1]:
            raise ShapeMismatch(
                f"the shift {name!r} has width {len(shift)}, the covariance {len(covariance)}. Take both from one site"
            )
        if not shift.any():
            raise BadInput(f"the shift {name!r} is zero, so the loss cannot slope along it. Leave it out")
    check_switchable(model, "the loss slope")
    with evaluating(model), model.disable_adapter():
        gradient = _gradient(model, rows, site, batch)
    axes = Axes.of(covariance)
    slopes: dict[str, LossSlope] = {}
    for name, shift in shifts.items():
        one = Subspace.orthonormal(shift[None], site=site)
        generator = torch.Generator().manual_seed(seed)
        drawn = [matched_random(one, covariance, generator=generator, axes=axes).read[0] for _ in range(n_random)]
        random = torch.stack(drawn) @ gradient * shift.norm() if drawn else torch.empty(0)
        slopes[name] = LossSlope(float(gradient @ shift.float().cpu()), tuple(random.tolist()))
    return slopes


@torch.enable_grad()
def _gradient(model: Any, rows: Sequence[Tokens], site: Site, batch: int) -> Float[Tensor, " d"]:
    """Mean over rows of the loss gradient at the site, summed over positions."""
    device = next(model.parameters()).device
    whole: list[Tensor] = []
    leaf = _Leaf()
    with attach(model, {site: leaf}):
        for ids, mask, chosen in batches([r["input_ids"] for r in rows], size=batch, pad=0):
            labels, _ = pad_rows([rows[i]["labels"] for i in chosen], -100)
            wanted = labels[:, 1:].to(device)
            if not (wanted != -100).any(1).all():
                row = chosen[int((~(wanted != -100).any(1)).nonzero()[0])]
                raise BadInput(f"row {row + 1} has no answer token that is predicted. Leave such rows out")
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits[:, :-1].float()
            loss = cross_entropy(logits.transpose(1, 2), wanted, ignore_index=-100, reduction="none")
            loss = (loss.sum(1) / (wanted != -100).sum(1)).sum()
            (gradient,) = torch.autograd.grad(loss, leaf.stream)
            whole.append((gradient.float() * mask.to(device)[..., None]).sum((0, 1)).cpu())
    return torch.stack(whole).sum(0) / len(rows)


class _Leaf(Edit):
    """Begins the graph at a site: nothing before it needs a gradient."""

    point = "activation"
    stream: Tensor

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        ((name, stream),) = tensors.items()
        self.stream = stream.detach().requires_grad_(True)
        return {name: self.stream}
