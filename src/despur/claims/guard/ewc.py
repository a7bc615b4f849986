"""The claim of `ewc`."""

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, move, penalty, rows_of
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import ewc as guard


@claim(
    method="ewc",
    says="a spring as stiff as the text needs it: an update that the text feels costs more than one of the same size that it does not, "
    "and more of the task is learned without the drift than with springs that are all alike",
    control="the same update with its matrices' entries permuted; `l2-sp`",
    margin=0.05,
)
def ewc(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """The penalty of an update in the stiffest places beside the same numbers elsewhere; then the task without the drift."""
    if whole:
        return areas(seed, "ewc", {"strength": 3.0}, against="l2-sp", bound=None)
    text = OwnText(tuple(tuple(r) for r in rows_of(seed, n=6).tolist()))
    model = fresh_lora(seed, r=1, target_modules=["up_proj"], layers_to_transform=[0])
    edit = guard(text, seed=seed)
    edit.bind(model)
    (name,) = Adapter.of(move(fresh_lora(seed, r=1, target_modules=["up_proj"], layers_to_transform=[0]))).updates
    layer = model.base_model.model.get_submodule(name)
    stiff: torch.Tensor = edit.fisher.values[name]  # type: ignore[union-attr, index, operator, assignment]
    u, _, vh = torch.linalg.svd(stiff)
    draw = torch.Generator().manual_seed(seed)
    costs: list[float] = []
    for order in (None, torch.randperm(len(vh[0]), generator=draw)):
        down = vh[0] if order is None else vh[0][order]
        with torch.no_grad():
            layer.lora_A["default"].weight.copy_(down[None])
            layer.lora_B["default"].weight.copy_(u[:, :1])
        costs.append(penalty(edit, model))
    return (compared("penalty where the text is stiff, in units of the same update elsewhere", costs[0] / costs[1], control=1.0,
                     n=len(text.rows), margin=0.05, unit="ratio"),)  # fmt: skip
