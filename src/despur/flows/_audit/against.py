"""Two tunes of one base, the difference between them as the update that is audited."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from despur.core import Adapter, LowRank, Tuned, TwoStates, load_tuned
from despur.core.errors import BadInput
from despur.core.model.base_modules import base_modules, unwrapped
from despur.core.model.stacks import stack_of, stacks

NOTE = (
    "audited is what the adapter does beyond {other!r}: wherever the base is named, it is the base with that one on; and a null of "
    "tunes beside their base gives a difference of two tunes too small a p value (8 of 20 neutral pairs had at most .05)"
)


def load_difference(load: Callable[[], Any], adapter: Path | str, other: Path | str, *, name: str) -> Tuned:
    """Put one tune on the base in such a way that switching it off leaves the other one.

    Both are read in the form of low-rank updates, each checked against the base; the difference of two is their factors side
    by side. Costs two copies of the weights that either changes.

    Args:
        load: Loads the plain base.
        adapter: The tune that is audited; any kind that `load_tuned` reads.
        other: The tune that takes the base's place.
        name: The base's name, for messages.

    Raises:
        BadInput: one of them changes more than low-rank updates can represent, or the base is quantised.
        ShapeMismatch: one of them does not belong to this base.
    """
    one, two = (load_tuned(load(), folder, name=name) for folder in (adapter, other))
    for read, folder in ((one, adapter), (two, other)):
        if read.adapter.kept or read.adapter.others:
            first = next(iter({**read.adapter.kept, **read.adapter.others}))
            raise BadInput(
                f"{str(folder)!r} changes {first!r} in a way that no low-rank update represents, so two tunes cannot be compared by "
                "it. Audit it against its base: leave out --against"
            )
    base = load()
    if getattr(base, "hf_quantizer", None) is not None:
        raise BadInput(
            f"base {name!r} is quantised, and two adapters cannot be compared on it. Give the base in bfloat16 or float32"
        )
    if any(p.is_floating_point() and p.element_size() < 4 for p in base.parameters()):
        base.float()  # in fewer digits, rounding would pass for a difference
    model = TwoStates(base, _with(base, one.adapter, two.adapter), _with(base, two.adapter, one.adapter)).eval()
    notes = (*one.notes, *(f"of {str(other)!r}, {note}" for note in two.notes), NOTE.format(other=str(other)))
    return Tuned(model, _difference(one.adapter, two.adapter, Path(adapter)), notes)


@torch.no_grad()
def _with(base: nn.Module, adapter: Adapter, other: Adapter) -> dict[str, Tensor]:
    """Weights of every map that either changes, with one of the two on."""
    modules = base_modules(base, shared=True)
    known = stacks(modules)
    weights: dict[str, Tensor] = {}
    for name in {**adapter.updates, **other.updates}:
        stack = stack_of(name)
        is_expert = stack in known and stack != name
        owner, _, leaf = (stack if stack in known else f"{name}.weight").rpartition(".")
        inside = unwrapped(modules[owner])
        whole = weights.setdefault(f"{owner}.{leaf}", inside.get_parameter(leaf).detach().clone())
        weight = whole[int(name.rpartition(".")[2])] if is_expert else whole
        if (update := adapter.updates.get(name)) is not None:
            up, down = (t.detach().to(weight.device, torch.float64) for t in (update.up, update.down))
            change = update.scale * up @ down
            transposed = known[stack].transposed if stack in known else not isinstance(inside, nn.Linear)
            weight.copy_(weight.double() + (change.T if transposed else change))
    return weights


def _difference(one: Adapter, two: Adapter, folder: Path) -> Adapter:
    updates: dict[str, LowRank] = {}
    for name in {**one.updates, **two.updates}:
        terms = [(a.updates[name], sign) for a, sign in ((one, 1.0), (two, -1.0)) if name in a.updates]
        down = torch.cat([u.down.detach().to("cpu", torch.float64) for u, _ in terms])
        up = torch.cat([sign * u.scale * u.up.detach().to("cpu", torch.float64) for u, sign in terms], 1)
        updates[name] = LowRank(down, up)  # in float64: what is equal in both cancels to zero
    return Adapter(updates, folder=folder, kind="difference")
