"""What tests of several guards do to a model: move its weights, train it, read a guard's penalty."""

import torch

from despur import guarded
from despur.core import Context

ENERGY = 0.7  # of the inputs' squares, for the orthogonal guards
OPTIMIZERS = {"AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2), "SGD": lambda p: torch.optim.SGD(p, lr=0.1)}


def move(model, seed: int = 0, by: float = 0.3):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(by * torch.randn(p.shape, generator=draw))
    return model


def learn(model, tokens, *edits, optimizer="AdamW", steps=8):
    made = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad])
    with guarded(model.train(), made, *edits):
        for _ in range(steps):
            model(input_ids=tokens, labels=tokens).loss.backward()
            made.step()
            made.zero_grad()
    return model.eval()


def penalty(edit, model) -> torch.Tensor:
    return edit({"loss": torch.zeros(())}, Context(model))["loss"]


def bound_penalty(edit, model) -> torch.Tensor:
    """The penalty of a guard that measures its reference when it is bound."""
    edit.bind(model)
    return penalty(edit, model)
