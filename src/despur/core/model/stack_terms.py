"""What the maps in a layer's stacked parameters do to the stream, told by their gradients.

The gradient of a map's weight is a sum of outer products, one a token: what is handed back to the map times what it read. So a map
reads the stream where one side of its gradient lies in the span of what a norm gave (seven tokens, in a space of the stream's width),
and writes it where the other lies in the span of what is handed back to the sum that the layer adds.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.model.base_modules import unwrapped
from despur.core.model.layer_pass import Pass, Terms
from despur.core.model.recorder import first
from despur.core.model.stacks import Stack, stacks

_EXPERTS = 8  # whose gradients are looked at


def enter_stacks(layer: nn.Module, run: Callable[[], Tensor], seen: Pass, terms: Terms) -> None:
    """Enter the roles of a layer's stacked maps; one that cannot be told gets none.

    Args:
        layer: The layer.
        run: Gives what comes out of it, with its graph.
        seen: A recorded pass.
        terms: What is known of its other maps, with what may be read and where is written.
    """
    found = {n: s for n, s in stacks(seen.modules).items() if seen.before.shape[1] in s.shape}
    terms.inner.update(set(stacks(seen.modules)) - set(found))
    weights = {n: unwrapped(seen.modules[n.rpartition(".")[0]]).get_parameter(n.rpartition(".")[2]) for n in found}
    if not found:
        return
    try:
        gradients, handed = _gradients(run, weights, seen, terms)
    except Exception:  # kernels without a backward pass: these maps stay unknown, the others are not
        return
    for name, stack in found.items():
        if (gradient := gradients.get(name)) is not None and gradient.any():
            _enter(name, stack, gradient, handed, seen, terms)


def _enter(name: str, stack: Stack, gradient: Tensor, handed: Mapping[str, Tensor], seen: Pass, terms: Terms) -> None:
    if gradient.ndim == 3:
        gradient = gradient[gradient.flatten(1).any(1)][:_EXPERTS]
    side_in, side_out = (-2, -1) if stack.transposed else (-1, -2)
    limit = 10 * seen.tolerance
    misses = {n: min(_outside(gradient, side_in, rows) for rows in points) for n, points in terms.points.items()}
    norm = min(misses, key=misses.__getitem__)
    places = [at for at, rows in handed.items() if _outside(gradient, side_out, rows) < limit]
    if misses[norm] < limit and not places:
        terms.reads[name] = norm or None
    elif places and misses[norm] >= limit:
        terms.writes[name] = terms.blocks[places[0]]


def _outside(gradient: Tensor, axis: int, rows: Float[Tensor, "t d"]) -> float:
    """Share of a gradient's vectors along an axis that lies outside the span of rows."""
    if gradient.shape[axis] != rows.shape[1] or len(rows) >= rows.shape[1]:
        return 1.0
    vectors = gradient.movedim(axis, -1).reshape(-1, rows.shape[1]).double()
    basis = torch.linalg.qr(rows.double().T).Q
    return float((vectors - vectors @ basis @ basis.T).norm() / vectors.norm())


def _gradients(
    run: Callable[[], Tensor], weights: Mapping[str, nn.Parameter], seen: Pass, terms: Terms
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of a random readout of the layer by its stacked weights, and by what its blocks add."""
    added: dict[str, Tensor] = {}
    hooks = [
        seen.modules[norm or at].register_forward_hook(_keep(added, at, norm)) for at, norm in terms.blocks.items()
    ]
    flags = {n: w.requires_grad for n, w in weights.items()}
    try:
        with torch.enable_grad():
            for weight in weights.values():
                weight.requires_grad_(True)
            after = run()
            names, places = list(weights), [at for at, out in added.items() if out.requires_grad]
            of = [*weights.values(), *(added[at] for at in places)]
            readout = (after * torch.randn(after.shape).to(after)).sum()
            found: Any = torch.autograd.grad(readout, of, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
        for name, weight in weights.items():
            weight.requires_grad_(flags[name])
    handed = {
        at: g.reshape(-1, g.shape[-1]) for at, g in zip(places, found[len(names) :], strict=True) if g is not None
    }
    return {n: g for n, g in zip(names, found, strict=False) if g is not None}, handed


def _keep(added: dict[str, Tensor], place: str, norm: str | None) -> Callable[..., None]:
    def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        added[place] = first(output) if norm is None else args[0]

    return keep
