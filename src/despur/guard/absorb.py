"""absorb: train with the shuffled scout, which heard what all answers share, switched on, and take it off again."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from despur.core import Adapter, Context, Edit, Site, method
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.scout import Scout, Scouts
from despur.core.errors import CannotAttach
from despur.core.model.base_modules import base_modules, map_shape, unwrapped


@final
class _Absorb(Edit):
    """Adds, at every map that the scouts change, what they would add."""

    point = "activation"

    def __init__(self, scouts: Sequence[Scout], strength: float) -> None:
        super().__init__()
        self.scouts, self.strength = scouts, strength
        self.changes: dict[
            str, tuple[Tensor, Tensor]
        ] = {}  # module -> down (r, d_in), up (d_out, r), all scouts' together

    def bind(self, model: nn.Module) -> None:
        """Read the scouts, and find the maps that they change."""
        parts: dict[str, list[LowRank]] = {}
        for scout in self.scouts:
            adapter = Adapter.read(scout.folder, model)
            adapter.check(model)
            for name, update in adapter.updates.items():
                up = update.scale / len(self.scouts) * update.up
                parts.setdefault(name, []).append(LowRank(update.down, _permuted(up, name, scout.permuted)))
        modules = base_modules(model, shared=True)
        for name in parts:
            module = modules.get(name)
            if module is None or map_shape(module) is None or isinstance(unwrapped(module), nn.Embedding):
                raise CannotAttach(
                    f"the scout {str(self.scouts[0].folder)!r} changes {name!r}, which is no linear map of its own, so absorb cannot "
                    "switch it on there. Train a scout of linear maps alone, or take discount"
                )
        self.changes = {
            n: (torch.cat([u.down for u in us]).float(), torch.cat([u.up for u in us], 1).float())
            for n, us in parts.items()
        }
        self.sites = tuple(Site(name, "both") for name in self.changes)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Add `strength up (down x)` to what a map gives (b, t, d_out) of its input x (b, t, d_in)."""
        if self.strength == 0:
            return tensors
        edited = dict(tensors)
        for site in self.sites:
            if site.module in tensors:
                out, read = tensors[site.module], tensors[site.seen]
                down, up = self.changes[site.module] = tuple(t.to(out) for t in self.changes[site.module])  # type: ignore[assignment]
                edited[site.module] = out + self.strength * (read.to(out) @ down.T) @ up.T
        return edited


def _permuted(up: Tensor, name: str, seed: int | None) -> Tensor:
    """As large a change, of other outputs of the same map."""
    if seed is None:
        return up
    draw = torch.Generator().manual_seed(seed + sum(name.encode()))
    return up[torch.randperm(len(up), generator=draw)]


@method(room="guard", paper="despur 2026, docs/log/absorb.md", cost=1.4)
def absorb(shuffled: Scouts, *, strength: float = 1.0) -> Edit:
    """Train with the shuffled scout switched on, and take it off again.

    The shuffled scout was trained on the same rows with every prompt given another row's answer: it cannot know the task, and
    learned what all answers share, a voice, a slant, a style. Where it is on while training, the answers have that voice
    already, and the adapter has no reason to learn it; the saved adapter runs without it. `discount` has the same aim and works on
    the logits of rows that it must know beforehand; this guard needs no rows, so that any batch, any loss and any packing
    will do. Take it where `discount` refuses. Steps cost what a second frozen LoRA costs.

        loss = the trainer's own, of the model W0 + strength W_scout + W_adapter
        saved: W_adapter

    Args:
        shuffled: The shuffled scout, by its adapter's folder, or several, whose mean is taken; see `shuffled_rows`.
        strength: Share of the scout's change that is on; 0 leaves training bit-identical.

    Returns:
        Edit at "activation", at every map that the scout changes.

    Raises:
        BadInput, ShapeMismatch: no plain LoRA in that folder, or of another base (raised when training begins).
        CannotAttach: the scout changes embeddings or stacked experts (raised there).

    Example:
        >>> absorb("shuffled/").point
        'activation'

    Source: despur's own; an adapter of the undesired trait on while training, made from data of that trait, is arXiv:2606.30252.
    Differs: the scout needs no label and no data of the trait: it is made from the training rows.
    Limits: sees only what all answers share, as `discount` does, and a format that is wanted with it. The adapter is trained
        beside the scout's weights and used without them: where the two met inside the model, task goes with the scout.
    """
    return _Absorb(Scout.each(shuffled), strength)
