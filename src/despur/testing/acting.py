"""The tensors that an edit gets at its point, for checks of edits."""

import torch
from torch import Tensor, nn

from despur.core.model.attach import find_module
from despur.core.model.base_modules import map_shape
from despur.core.types import Edit
from despur.testing.tiny import WIDTH, tiny_text


def acting_input(edit: Edit, model: nn.Module, times: float = 1.0) -> dict[str, Tensor]:
    """Make the tensors that an edit gets at its point.

    Args:
        edit: Bound to the model.
        model: With its adapter.
        times: How large they are.
    """
    if edit.point == "loss":
        return {"loss": torch.full((), times)}
    if edit.point == "batch":
        ids = torch.arange(40 * 6).view(40, 6) % 60 + 3
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    if edit.point == "activation":
        ids = torch.tensor(tiny_text().rows[:6:3])  # of one length
        stream = (times * torch.linspace(-1, 1, ids.numel() * WIDTH)).view(*ids.shape, WIDTH)
        stream = stream.to(next(iter(trained.values())).dtype)
        words = [s for s in edit.sites if s.side == "in" and isinstance(find_module(model, s.module), nn.Embedding)]
        wide = {s: map_shape(find_module(model, s.module)) or (WIDTH, WIDTH) for s in edit.sites}  # out, in
        seen = {s.seen: _widened(stream, d_in) for s, (_, d_in) in wide.items() if s.side == "both"}
        return seen | {s.module: ids if s in words else _widened(stream, d[s.side == "in"]) for s, d in wide.items()}
    if edit.point == "weight":
        return {n: times * p for n, p in trained.items()}
    draw = torch.Generator().manual_seed(8)
    return {n: (times * torch.randn(p.shape, generator=draw)).to(p.dtype) for n, p in trained.items()}


def _widened(stream: Tensor, width: int) -> Tensor:
    return stream.repeat(1, 1, -(-width // WIDTH))[..., :width]
