"""O-LoRA: read nothing that a former adapter reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from despur.core import Adapter, Context, Edit, method
from despur.core.adapter.scout import Scout
from despur.core.adapter.updates import Pair, refuse_shards, trained_updates
from despur.core.errors import CannotAttach

WEIGHT = 0.1  # lambda_1 at strength 1


@final
class _AvoidReads(Edit):
    point = "loss"

    def __init__(self, scout: Path | str, weight: float) -> None:
        super().__init__()
        self.scout, self.weight = scout, weight
        self.met: list[tuple[Pair, Tensor]] = []

    def bind(self, model: nn.Module) -> None:
        """Read the former adapter's A of every module that is trained now."""
        self.met = []
        if not self.weight:
            return
        former = Adapter.read(self.scout)
        former.check(model)
        for name, pair in trained_updates(model, "o_lora").pairs.items():
            if name in former.updates:
                down = model.get_parameter(pair.down)
                self.met.append((pair, former.updates[name].down.to(down.device, torch.float32)))
        if not self.met:
            raise CannotAttach(
                f"the adapter in {str(self.scout)!r} changes none of the modules that are trained here. Train the same ones"
            )

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not self.weight:
            return tensors
        refuse_shards(ctx.model, "o_lora")
        overlap = [(old @ ctx.model.get_parameter(pair.down).float().T).abs().sum() for pair, old in self.met]
        return {**tensors, "loss": tensors["loss"] + self.weight * torch.stack(overlap).sum()}


@method(room="guard", paper="Wang et al. 2023, arXiv:2310.14152", cost=1.2)
def o_lora(scout: Scout | Path | str, *, strength: float = 1.0) -> Edit:
    """Keep what the new adapter reads orthogonal to what a former adapter reads.

    Made for one adapter a task; here the former one is the scout, so that what it learned to read is left alone. `grasp`
    forbids a few directions of the stream exactly, this one penalises all of the former A, module by module. Costs
    O(r² d_in) per matrix.

        loss = task + 0.1 strength sum |A_former Aᵀ|

    Args:
        scout: Folder of the former adapter, on the same base.
        strength: Weight of the penalty; 1 is lambda_1 = 0.1 (the paper has 0.5), 0 leaves training bit-identical.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: no plain LoRA adapter in that folder.
        CannotAttach: it changes none of the modules that are trained (raised when training begins), or they are sharded.

    Example:
        >>> o_lora("scout/", strength=0.5).point
        'loss'

    Source: Wang et al. 2023, arXiv:2310.14152, lambda_1 = 0.5, lambda_2 = 0.
    Differs: the former adapter is not part of the model beside the new one: we do not want what it learned.
    Limits: A may shrink and B grow instead; the former A is mostly its random start, above all after a short run; a task that
        needs the same inputs as the drift pays for both.
    """
    return _AvoidReads(Scout.of(scout).folder, WEIGHT * strength)
