"""What flows through linear maps: their inputs, and the gradient of a value at their outputs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from despur.core.model.attach import record
from despur.core.model.capture import fitting_batch
from despur.core.text.rows import batches
from despur.core.types import Site

Flows = dict[str, tuple[Float[Tensor, "*b d_in"], Float[Tensor, "*b d_out"]]]
Value = Callable[[nn.Module, Int[Tensor, "b t"], Int[Tensor, "b t"], list[int]], Float[Tensor, ""]]


def flows(model: nn.Module, modules: Sequence[str], value: Callable[[nn.Module], Float[Tensor, ""]]) -> Flows:
    """What goes into each map and the value's gradient at what comes out; weight gradients are their outer products.

    Args:
        model: In whatever state it is to be read; some weight at or before the first map must want gradients.
        modules: Names of linear maps.
        value: Of one forward pass.
    """
    sites = {name: (Site(name, "in"), Site(name)) for name in modules}
    with torch.enable_grad(), record(model, [site for pair in sites.values() for site in pair]) as seen:
        out = value(model)
    grads = torch.autograd.grad(out, [seen[site] for _, site in sites.values()])
    return {
        name: (seen[into].detach().float(), grad.float())
        for (name, (into, _)), grad in zip(sites.items(), grads, strict=True)
    }


def text_flows(
    model: nn.Module, modules: Sequence[str], rows: Sequence[Sequence[int]], value: Value
) -> Iterator[tuple[Flows, Int[Tensor, "b t"]]]:
    """The flows of token rows, in batches that fit into memory, each with its mask of real tokens.

    Args:
        model: A language model in whatever state it is to be read; its `requires_grad` flags must be restored by the caller.
        modules: Base-model names of linear maps.
        rows: Token ids.
        value: Of the model, ids and mask of one batch, and which rows these are.
    """
    device = next(model.parameters()).device
    embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
    for ids, mask, chosen in batches(rows, size=min(16, fitting_batch(model, rows)), pad=0):
        ids, mask = ids.to(device), mask.to(device)

        def of_batch(model: nn.Module, ids: Tensor = ids, mask: Tensor = mask, chosen: list[int] = chosen) -> Tensor:
            embedding.weight.requires_grad_(True)  # else a frozen base has no graph
            return value(model, ids, mask, chosen)

        yield flows(model, modules, of_batch), mask
