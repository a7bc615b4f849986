"""A short tune for a scout: no trainer, no checkpoints, nothing but steps."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch

from despur.core.errors import BadInput
from despur.core.model.states import evaluating
from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens, pad_rows

_CLIP = 1.0  # norm of the gradient at most, as transformers' Trainer has it


def short_tune(
    model: Any, rows: Sequence[Tokens], *, steps: int, lr: float, batch: int, seed: int,
    after_step: Callable[[int, float], None] | None = None,
) -> list[float]:  # fmt: skip
    """Train in place what requires gradients, with AdamW at a rate that falls linearly to zero.

    For a minute's scout; `despur train` has checkpoints, guards and evaluations. The global random state is left as it was.

    Args:
        model: A causal language model with something to train, which is in evaluation afterwards.
        rows: Token ids and labels; all of them in random order, then all again in another.
        steps: Of the optimiser.
        lr: The first rate.
        batch: Rows of a step.
        seed: Of the order and of dropout.
        after_step: Called with the number of steps done and the last loss.

    Returns:
        The loss of each step, nats per token.

    Raises:
        BadInput: no rows, or a loss that is not finite.

    Example:
        >>> # losses = short_tune(get_peft_model(base, LoraConfig()), rows, steps=40, lr=1e-3, batch=4, seed=0)
    """
    if not rows:
        raise BadInput("there are no rows to train on. Give some")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    device, losses = next(model.parameters()).device, list[float]()
    with evaluating(model), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model.train()
        order: list[int] = []
        for step in range(1, steps + 1):
            while len(order) < batch:
                order += torch.randperm(len(rows)).tolist()
            some, order = [rows[i] for i in order[:batch]], order[batch:]
            ids, mask = (t.to(device) for t in pad_rows([r["input_ids"] for r in some], 0))
            labels = pad_rows([r["labels"] for r in some], UNLEARNED)[0].to(device)
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            losses.append(float(loss.detach()))
            if not isfinite(losses[-1]):
                raise BadInput(
                    f"the scout's loss became {losses[-1]} at step {step} with lr={lr}: it diverged. Take a lower lr"
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, _CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if after_step is not None:
                after_step(step, losses[-1])
    return losses
