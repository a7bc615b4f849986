"""Fisher information of any small model, by gradients of single rows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from despur.core.errors import BadInput, SiteNotFound, nearest
from despur.core.fisher.forms import Diagonal, Kronecker, RankOne
from despur.core.fisher.labels import SOFTMAX, Labels, Likelihood, check_labels, labelled
from despur.core.model.flows import flows
from despur.core.model.states import evaluating, same_flags

ROOM = 2**28  # bytes of row gradients in memory at once
Gradients = dict[str, Tensor]  # (rows, *shape of the weight)


def row_gradients(
    model: nn.Module,
    value: Callable[..., Tensor],
    *rows: Tensor,
    names: Sequence[str] | None = None,
    room: int = ROOM,
) -> Iterator[Gradients]:
    """The gradient of each row's own value, many rows at once and never more than fit.

    Args:
        model: Any model whose rows do not meet (no batch statistics), read in evaluation.
        value: Of a call of the model and the tensors of one row, each with a batch axis of 1.
        rows: Tensors whose first axis counts the rows.
        names: Weights; all if None.
        room: Bytes of row gradients in memory at once; at least one row's.

    Raises:
        BadInput: tensors of different length, no row or no weight.
        SiteNotFound: no such weight.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> next(row_gradients(model, lambda f, x: f(x).sum(), torch.eye(2)))["weight"][:, 0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    weights = {n: p.detach() for n, p in model.named_parameters()}
    for name in names or ():
        if name not in weights:
            raise SiteNotFound(f"no weight {name!r} in {type(model).__name__}{nearest(name, weights)}")
    chosen = {n: weights[n] for n in (weights if names is None else names)}
    rest = {**{n: p for n, p in weights.items() if n not in chosen}, **dict(model.named_buffers())}
    lengths = [len(r) for r in rows]
    if not chosen or not lengths or len(set(lengths)) > 1 or not lengths[0]:
        raise BadInput(
            f"{len(chosen)} weights and rows of lengths {lengths}; give a weight and a row at least, as many of each tensor"
        )

    def of_row(own: dict[str, Tensor], *row: Tensor) -> Tensor:
        def call(*args: Any, **options: Any) -> Any:
            return functional_call(model, {**own, **rest}, args, options)

        return value(call, *(r[None] for r in row))

    gradients = vmap(grad(of_row), in_dims=(None, *[0] * len(rows)))
    size = max(1, room // sum(p.numel() * p.element_size() for p in chosen.values()))
    with evaluating(model):
        for parts in zip(*(r.split(size) for r in rows), strict=True):
            yield {n: g.detach() for n, g in gradients(chosen, *parts).items()}


class RowFisher:
    """Fisher information of a small model; the unit of every mean is a row.

    Args:
        model: Any model from a tensor to a tensor whose rows do not meet; read in evaluation.
        inputs: (n, ...).
        targets: (n, ...), the data's own labels, where these are asked for.
        labels: Whose labels: `"observed"`, `"sampled"` (of the model: the Fisher information), `"pseudo"` (its best guess).
        likelihood: What its outputs say of labels.
        names: Weights; all if None.
        seed: Of the draws.
        room: Bytes of row gradients in memory at once.

    Raises:
        BadInput: labels of no such kind, or that cannot be had.
        SiteNotFound: no such weight.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> fisher = RowFisher(model, torch.eye(2), labels="sampled").importance()
        >>> fisher.quadratic({"bias": torch.ones(2)}).shape
        torch.Size([])
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor | None = None,
        *,
        labels: Labels,
        likelihood: Likelihood = SOFTMAX,
        names: Sequence[str] | None = None,
        seed: int = 0,
        room: int = ROOM,
    ) -> None:
        check_labels(labels)
        with evaluating(model), torch.no_grad():
            outputs = torch.cat([model(part) for part in inputs.split(1024)])
        self.labels = labelled(outputs, targets, labels, likelihood, seed)
        self.model, self.inputs, self.likelihood, self.room = model, inputs, likelihood, room
        self.names = None if names is None else list(names)

    def gradients(self) -> Iterator[Gradients]:
        """Gradients of log p(label), row by row, in chunks that fit."""

        def value(model: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
            return self.likelihood.log_prob(model(x), y)

        return row_gradients(self.model, value, self.inputs, self.labels, names=self.names, room=self.room)

    def importance(self) -> Diagonal:
        """Mean squared gradient of each weight."""
        total: dict[str, Tensor] = {}
        for chunk in self.gradients():
            for name, g in chunk.items():
                part = g.square_().sum(0)
                total[name] = total[name] + part if name in total else part
        return Diagonal({n: t / len(self.inputs) for n, t in total.items()})

    def rank_one(self) -> RankOne:
        """Mean gradient, and how collinear the rows' gradients are."""
        total: dict[str, Tensor] = {}
        squares = 0.0
        for chunk in self.gradients():
            for name, g in chunk.items():
                part = g.sum(0)
                total[name] = total[name] + part if name in total else part
                squares += float(g.square_().sum(dtype=torch.float64))
        return RankOne.of(total, squares, len(self.inputs), len(self.inputs))

    def kronecker(self) -> Kronecker:
        """Covariances of what goes into each linear map and of what comes back; biases and other weights are left out.

        Raises:
            BadInput: no linear map, or one that reads more than one vector a row.
        """
        maps = {f"{n}.weight" if n else "weight": n for n, m in self.model.named_modules() if isinstance(m, nn.Linear)}
        maps = {w: n for w, n in maps.items() if self.names is None or w in self.names}
        if not maps:
            raise BadInput("no linear map's weight is among the names. Take importance() or rank_one()")
        inputs: dict[str, Tensor] = {}
        signals: dict[str, Tensor] = {}
        with same_flags(self.model), evaluating(self.model):
            self.model.requires_grad_(True)
            for x, y in zip(self.inputs.split(1024), self.labels.split(1024), strict=True):

                def value(model: nn.Module, x: Tensor = x, y: Tensor = y) -> Tensor:
                    return self.likelihood.log_prob(model(x), y)

                seen = flows(self.model, list(maps.values()), value)
                for weight, name in maps.items():
                    into, back = seen[name]
                    if into.ndim != 2:
                        raise BadInput(
                            f"{name!r} reads {tuple(into.shape)}, and one vector a row is needed. Take importance()"
                        )
                    inputs[weight] = inputs.get(weight, 0) + into.T @ into
                    signals[weight] = signals.get(weight, 0) + back.T @ back
        n = len(self.inputs)
        return Kronecker({w: a / n for w, a in inputs.items()}, {w: g / n for w, g in signals.items()})
