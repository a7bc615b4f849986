"""The steerings that LinEAS is compared with in its paper, each as maps of the stream: ActAdd, CAA, ITI and Linear-AcT."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Context, Edit
from despur.core.model.anatomy import Anatomy
from despur.steer.lineas import AffineMap, Maps, Rows, quantiles, row_means


@torch.no_grad()
def baselines(model: nn.Module, source: Rows, target: Rows, *, towards: nn.Module | None = None) -> dict[str, Maps]:
    """Name -> maps of strength 1; ActAdd and CAA act at the layer two thirds of the way up, the others at all.

    Args:
        model: That is steered.
        source: Rows that are moved.
        target: Rows that they are moved to.
        towards: The model that reads the target; `model` itself if left out.
    """
    anatomy = Anatomy.of(model)
    one = torch.ones(anatomy.width, device=next(model.parameters()).device)
    plain = {s: AffineMap(one, 0 * one) for s in anatomy.sites}
    having, without = row_means(towards or model, target, plain), row_means(model, source, plain)
    means = [h.mean(0) - w.mean(0) for h, w in zip(having, without, strict=True)]
    middle = round(2 / 3 * (anatomy.depth - 1))
    site = anatomy.sites[middle]
    return {
        "ActAdd": {site: (one, having[middle][0] - without[middle][0])},
        "CAA": {site: (one, means[middle])},
        "ITI": {s: (one, _spread(v, w)) for s, v, w in zip(anatomy.sites, means, without, strict=True)},
        "Linear-AcT": _layer_by_layer(model, source, having),
    }


def _spread(v: Float[Tensor, " d"], stream: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """ITI's shift: the direction, as long as activations spread along it."""
    unit = v / v.norm()
    return unit * (stream @ unit).std()


def _layer_by_layer(model: nn.Module, source: Rows, wanted: Sequence[Float[Tensor, "n d"]]) -> Maps:
    """Linear-AcT: each layer's map in closed form, behind the maps of the layers before; one pass."""
    edits = {s: _ClosedForm(w, source) for s, w in zip(Anatomy.of(model).sites, wanted, strict=True)}
    row_means(model, source, edits)
    return {s: e.map for s, e in edits.items()}


@final
class _ClosedForm(Edit):
    """Fit the map of what comes by, and apply it."""

    point = "activation"

    def __init__(self, wanted: Float[Tensor, "m d"], rows: Rows) -> None:
        super().__init__()
        self.wanted, self.lengths = wanted, [len(r) for r in rows]
        self.map = (torch.ones(()), torch.zeros(()))

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        (x,) = tensors.values()
        now = torch.stack([h[1:n].float().mean(0) for h, n in zip(x, self.lengths, strict=True)])
        n = min(len(now), len(self.wanted))
        a, b = (quantiles(y, n).T for y in (now, self.wanted))
        a, b = a - a.mean(0), b - b.mean(0)
        gain = (a * b).sum(0) / a.square().sum(0).clamp(min=1e-12)
        self.map = (gain, self.wanted.mean(0) - gain * now.mean(0))
        return AffineMap(*self.map)(tensors, ctx)
