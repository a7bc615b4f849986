"""Whose labels: the data's own, draws of the model, or the model's best guess; and what a model's outputs say of labels.

Only draws of the model give the Fisher information. With the data's own labels it is the "empirical Fisher", another matrix:
large where the model is wrong, and zero where it fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from despur.core.errors import BadInput

Labels = Literal["observed", "sampled", "pseudo"]


@dataclass(frozen=True)
class Likelihood:
    """What a model's outputs say of labels, a row at a time.

    Args:
        name: For messages.
        log_prob: Outputs and labels of some rows to their log-probabilities, summed; for a loss of your own, minus the loss.
        sample: Outputs and a generator to labels; None where labels cannot be drawn.
        best: Outputs to the likeliest labels; None where there are none.
    """

    name: str
    log_prob: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Tensor, torch.Generator], Tensor] | None = None
    best: Callable[[Tensor], Tensor] | None = None


def check_labels(labels: str) -> None:
    """Refuse another word.

    Raises:
        BadInput: labels of no such kind.
    """
    if labels not in get_args(Labels):
        raise BadInput(f"labels={labels!r}; say whose labels: {', '.join(map(repr, get_args(Labels)))}")


def labelled(outputs: Tensor, targets: Tensor | None, labels: Labels, likelihood: Likelihood, seed: int) -> Tensor:
    """The labels of some rows.

    Args:
        outputs: Of the model, (n, ...).
        targets: The data's own.
        labels: Which to take.
        likelihood: How to draw or guess them.
        seed: Of the draws.

    Raises:
        BadInput: there are none of that kind.
    """
    if labels == "observed":
        if targets is None:
            raise BadInput("labels='observed' needs the data's own labels. Give targets, or take 'sampled'")
        return targets
    if labels == "sampled" and likelihood.sample is not None:
        return likelihood.sample(outputs, torch.Generator().manual_seed(seed))
    if labels == "pseudo" and likelihood.best is not None:
        return likelihood.best(outputs)
    raise BadInput(f"labels={labels!r}, and of a {likelihood.name} none can be had. Take labels='observed'")


def draw_classes(log_probs: Tensor, draw: torch.Generator) -> Tensor:
    """One class for each line of (*b, v) log-probabilities, drawn on the CPU: the same on every device."""
    chances = log_probs.detach().exp().flatten(0, -2).cpu()
    if chances.isnan().any():
        raise BadInput(
            "the model's probabilities are not finite, so no label is drawn. Look for NaN in the base, or load it in float32"
        )
    drawn = torch.multinomial(chances, 1, generator=draw)
    return drawn.to(log_probs.device).view(log_probs.shape[:-1])


def _classes(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.log_softmax(-1).gather(-1, labels[..., None]).sum()


SOFTMAX = Likelihood(
    "softmax",
    _classes,
    lambda outputs, draw: draw_classes(outputs.log_softmax(-1), draw),
    lambda outputs: outputs.argmax(-1),
)
GAUSSIAN = Likelihood(  # unit variance; the likeliest label has no gradient, so there is no best one
    "Gaussian",
    lambda outputs, labels: -(outputs - labels).square().sum() / 2,
    lambda outputs, draw: outputs + torch.randn(outputs.shape, generator=draw).to(outputs),
)
