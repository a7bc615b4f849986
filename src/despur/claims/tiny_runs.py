"""What claims do to a tiny model: move its weights, train it a few steps under a guard, read a penalty."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, Subspace
from despur.core.model.capture import log_probs
from despur.core.model.states import as_base
from despur.core.run.callback import guarded
from despur.core.run.forward_edits import ForwardEdits
from despur.testing import tiny_base

OPTIMIZERS: Mapping[str, Callable[[Any], torch.optim.Optimizer]] = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
}


def fresh_lora(seed: int = 0, **config: Any) -> Any:
    """Put a new LoRA on every linear map of the tiny base, B at zero.

    Args:
        seed: Of base and adapter.
        **config: Of `LoraConfig`, over r = 4 on all linear maps.
    """
    import warnings

    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own
        torch.manual_seed(seed)
        options = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config}
        return get_peft_model(tiny_base(seed), LoraConfig(**options))  # type: ignore[arg-type]


def move(model: Any, seed: int = 0, by: float = 0.3) -> Any:
    """Move every trained weight at random, as if the model had been trained."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(by * torch.randn(p.shape, generator=draw))
    return model


def sharpen(model: Any, by: float = 20.0) -> Any:
    """Scale the output map up: a tiny base of random weights gives all words nearly the same probability."""
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(by)
    return model


def learn(model: Any, tokens: Tensor, *edits: Edit, optimizer: str = "AdamW", steps: int = 8) -> Any:
    """Fit rows under guards; gives the model in eval mode.

    Args:
        model: With trained parameters.
        tokens: (b, t) rows, learned whole.
        *edits: Guards.
        optimizer: A name in `OPTIMIZERS`.
        steps: Of the optimiser.
    """
    made = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad])
    with guarded(model.train(), made, *edits):
        for _ in range(steps):
            model(input_ids=tokens, labels=tokens).loss.backward()
            made.step()
            made.zero_grad()
    return model.eval()


def logits_under(edit: Edit, model: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (b, t, v) of a training pass without an edit of activations, and with it."""
    edit.bind(model)
    with torch.no_grad():
        plain = model.eval()(input_ids=ids).logits
    edits = ForwardEdits(model.train(), [edit], lambda: Context(model))
    edits.attach()
    try:
        return plain, model(input_ids=ids).logits.detach()
    finally:
        edits.detach()


def penalty(edit: Edit, model: nn.Module) -> float:
    """What a guard adds to a loss of zero."""
    return float(edit({"loss": torch.zeros(())}, Context(model))["loss"].detach())


def log_probs_of_both(model: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (b, t, v) of the model as it is, and of its base."""
    mask = torch.ones_like(ids)
    with torch.no_grad(), as_base(model) as base:
        before = log_probs(base, ids, mask)
    with torch.no_grad():
        return log_probs(model, ids, mask), before


def rows_of(seed: int = 0, n: int = 4, length: int = 8, vocabulary: int = 64) -> Tensor:
    """Random token rows (n, length) that begin with token 1."""
    drawn = torch.randint(3, vocabulary, (n, length), generator=torch.Generator().manual_seed(seed))
    drawn[:, 0] = 1
    return drawn


def random_factor(rank: int = 2, width: int = 32, seed: int = 0, **where: Any) -> Subspace:
    """A random subspace; `site=` puts it somewhere."""
    return Subspace.orthonormal(torch.randn(rank, width, generator=torch.Generator().manual_seed(seed)), **where)
