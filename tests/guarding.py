"""What tests of several guards do to a model: move its weights, train it, read a guard's penalty."""

import torch

from despur.claims.tiny_runs import OPTIMIZERS, fresh_lora, learn, move, sharpen
from despur.core import Context
from despur.core.run.callback import guarded

__all__ = ["ENERGY", "OPTIMIZERS", "bound_penalty", "filled", "first_gradient", "learn", "move", "penalty"]

ENERGY = 0.7  # of the inputs' squares, for the orthogonal guards


def filled(model):
    """Give LoRA's B, which begins at zero, random numbers, as if something had been learned in each map."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
    return model


def first_gradient(tokens, *edits) -> float:
    """Length of the gradient in the first step of a sharp LoRA on some rows, learned whole, under guards."""
    model = sharpen(fresh_lora()).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0)
    with guarded(model, optimizer, *edits):
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
    return float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())


def penalty(edit, model) -> torch.Tensor:
    return edit({"loss": torch.zeros(())}, Context(model))["loss"]


def bound_penalty(edit, model) -> torch.Tensor:
    """The penalty of a guard that measures its reference when it is bound."""
    edit.bind(model)
    return penalty(edit, model)
