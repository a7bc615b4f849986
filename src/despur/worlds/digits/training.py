"""One training loop for the digits: seeded, with what the methods that change training need to replace."""

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from math import isfinite
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from despur.core.errors import BadInput
from despur.worlds.digits.nets import digit_net, has_norm
from despur.worlds.digits.rows import DigitRows
from despur.worlds.digits.scores import CROSS_ENTROPY, RowLoss, accuracy, row_losses
from despur.worlds.digits.seeds import checked_seed


class Pass(NamedTuple):
    """What `progress` is called with after each pass over the rows.

    Args:
        step: Steps so far.
        loss: Mean over the steps of the pass, penalty included.
        validation_loss: Mean over the validation rows.
        validation_accuracy: On the same rows.
    """

    step: int
    loss: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


def train_net(
    net: nn.Module,
    rows: DigitRows,
    *,
    steps: int = 400,
    batch: int = 64,
    lr: float = 3e-3,
    seed: int = 0,
    optimizer: Callable[[list[nn.Parameter]], Optimizer] | None = None,
    loss: RowLoss = CROSS_ENTROPY,
    weights: Float[Tensor, " n"] | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    validation: DigitRows | None = None,
    patience: int = 5,
    progress: Callable[[Pass], None] = lambda done: None,
) -> nn.Module:
    """Train a net in place and give it back, ready for use.

        loss of a step = mean over its rows of weight * loss + penalty(net)

    Args:
        net: The net; parameters without `requires_grad` stay.
        rows: What to train on, in an order of their own in each pass; every step has as many rows.
        steps: Steps of the optimizer, at most.
        batch: Rows a step; all of them where there are fewer.
        lr: Adam's rate.
        seed: Of the order of rows, and of dropout where the net has it; torch's own generator stays where it was.
        optimizer: Makes another optimizer than Adam of the trainable parameters; `lr` is then its own affair, and its `step()` is
            called without a closure.
        loss: One loss a row.
        weights: One a row, 1 where they are missing.
        penalty: Added to the loss of each step.
        validation: Stop once the loss on these rows has not fallen for `patience` passes, and go back to where it was lowest.
        patience: Passes over the rows.
        progress: Called after each pass.

    Raises:
        BadInput: no rows, weights that do not fit them, numbers out of range, nothing to train, or a loss that is not finite
            or not one a row.

    Example:
        >>> from despur.worlds import Digits
        >>> world = Digits()
        >>> net = train_net(digit_net("mlp"), world.train, steps=50)
        >>> accuracy(net, world.test) > 0.8
        True
    """
    params = _checked(net, rows, weights, validation, (steps, batch, patience))
    optimize = optimizer(params) if optimizer else Adam(params, lr=lr)
    every = -(-len(rows) // min(batch, len(rows)))  # steps in which each row comes up
    best, waited, total = None, 0, 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checked_seed(seed))
        net.train()
        for step, which in enumerate(_batches(len(rows), batch, steps), 1):
            each = loss(net(rows.x[which]), rows.y[which])
            if each.shape != which.shape:
                raise BadInput(
                    f"the loss gave the shape {tuple(each.shape)} for {len(which)} rows; give one value a row"
                )
            here = (each if weights is None else each * weights[which]).mean()
            value = here + penalty(net) if penalty else here
            optimize.zero_grad()
            value.backward()
            optimize.step()
            total += float(value.detach())
            if step % every and step < steps:
                continue
            if not isfinite(total):
                raise BadInput(f"the loss is {total} after {step} steps; take a lower rate")
            done = Pass(step, total / ((step - 1) % every + 1))
            total = 0.0
            if validation is not None:
                now = float(row_losses(net.eval(), validation, loss).mean())
                done = done._replace(validation_loss=now, validation_accuracy=accuracy(net, validation))
                net.train()
                waited += 1
                if best is None or now < best[0]:
                    best, waited = (now, deepcopy(net.state_dict())), 0
            progress(done)
            if waited >= patience:
                break
    if best is not None:
        net.load_state_dict(best[1])
    return net.eval()


def trained_net(
    kind: str, rows: DigitRows, *, seed: int = 0, width: int | None = None, depth: int = 2, **how: Any
) -> nn.Module:
    """Make a net and train it on these rows alone.

    On all rows it is the original, and on the rows that stay it is the *retrained oracle*: what a model that forgets is
    compared with. `trained_net("mlp", split.retain, seed=7)` starts from the same weights as the original of that seed;
    another seed shows how far two such nets differ by chance.

    Args:
        kind: As in `digit_net`.
        rows: What to train on.
        seed: Of the weights and of the order of rows.
        width: As in `digit_net`.
        depth: As in `digit_net`.
        how: Options of `train_net`.

    Example:
        >>> from despur.worlds import Digits, forget_class
        >>> world = Digits()
        >>> split = forget_class(world.train, 3)
        >>> oracle = trained_net("mlp", split.retain, steps=60)
        >>> accuracy(oracle, world.test.of_class(3))
        0.0
    """
    return train_net(digit_net(kind, width=width, depth=depth, seed=seed), rows, seed=seed, **how)


def _batches(n: int, batch: int, steps: int) -> Iterator[Tensor]:
    """Give indices for so many steps, each of full size: passes over all rows, one after the other."""
    batch, queue = min(batch, n), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(queue) < batch:
            queue = torch.cat([queue, torch.randperm(n)])
        yield queue[:batch]
        queue = queue[batch:]


def _checked(
    net: nn.Module,
    rows: DigitRows,
    weights: Tensor | None,
    validation: DigitRows | None,
    counts: Iterable[int],
) -> list[nn.Parameter]:
    if not len(rows) or (validation is not None and not len(validation)):
        raise BadInput("no rows to train or to validate on; give one or more")
    if min(counts) < 1:
        raise BadInput("steps, batch and patience must each be 1 or more")
    if weights is not None and (weights.shape != rows.y.shape or not bool((weights >= 0).all())):
        raise BadInput(f"weights of shape {tuple(weights.shape)} for {len(rows)} rows; give each row one, 0 or more")
    if has_norm(net) and len(rows) < 2:
        raise BadInput("batch norm cannot train on a single row; give two or more")
    params = [p for p in net.parameters() if p.requires_grad]
    if not params:
        raise BadInput("no parameter of the net requires a gradient; set requires_grad on what shall be trained")
    return params
