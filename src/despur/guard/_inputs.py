"""What the base feeds each map on some text, and an edit that leaves it alone."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Edit, Site, record
from despur.core.adapter.updates import is_linear, trained_updates
from despur.core.errors import BadInput, CannotAttach
from despur.core.model.base_modules import base_modules
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base, evaluating
from despur.core.text.rows import batches
from despur.guard._projection import Projection
from despur.guard._shared_memory import joined


@torch.no_grad()
def input_bases(
    model: nn.Module, modules: list[str], text: OwnText, energy: float
) -> dict[str, Float[Tensor, "k d_in"]]:
    """The leading directions of what the base feeds each map on the text, by share of their squared length together."""
    squares: dict[str, Tensor] = {}
    sites = {name: Site(name, "in") for name in modules}
    with as_base(model) as base, record(base, list(sites.values())) as seen:
        device = next(base.parameters()).device
        for ids, mask, _ in batches(text.rows, size=16, pad=0):
            keep = mask.bool()
            if ids.shape[1] > 1:
                keep[:, 0] = False  # massive activations at the first token would have all of the energy
            base(input_ids=ids.to(device), attention_mask=mask.to(device))
            for name, site in sites.items():
                x = seen[site][keep.to(device)].double()
                squares[name] = squares[name] + x.T @ x if name in squares else x.T @ x
    bases: dict[str, Tensor] = {}
    for name, square in squares.items():
        values, vectors = torch.linalg.eigh(square)
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        share = values.cumsum(0) / values.sum()
        k = int((share < energy).sum()) + 1  # the first k that reach the share
        bases[name] = vectors[:, :k].T.float().contiguous()
    return bases


def input_projections(model: nn.Module, text: OwnText, energy: float, guard: str) -> dict[str, Projection]:
    """Projections off what each trained matrix must not read.

    Raises:
        CannotAttach: something trained reads no vectors: embeddings, biases, norms.
    """
    found, modules = trained_updates(model, guard), base_modules(model)
    names = {n: pair.down for n, pair in found.pairs.items()}
    names |= {n.removeprefix("base_model.model.").removesuffix(".weight"): n for n in found.whole}
    other = [n for n in names if n not in modules or not is_linear(modules[n])]
    if other:
        raise CannotAttach(
            f"{guard} constrains what linear maps read, and {other[0]!r} is none and trained. Train linear maps alone"
        )
    projections: dict[str, Projection] = {}
    with evaluating(model):
        bases = input_bases(model, list(names), text, energy)
    for module, basis in bases.items():
        name = names[module]
        # GPT-2's Conv1D keeps its weight as (d_in, d_out)
        first = name in found.whole and type(modules[module]).__name__ == "Conv1D"
        projections[name] = Projection(basis, rows=first)
        projections[name].meet(model.get_parameter(name))
        if name in found.whole:
            projections[name].keep(model.get_parameter(name).detach())
    return joined(model, projections)


class LeaveInputs(Edit):
    def __init__(self, text: OwnText, energy: float, strength: float, rows: int) -> None:
        super().__init__()
        if not 0 < energy < 1 or rows < 1:
            raise BadInput(f"energy={energy}, n_rows={rows}; energy lies between 0 and 1, and at least 1 row is needed")
        self.text, self.energy, self.strength = OwnText(text.rows[:rows], text.origin), energy, strength
        self.projections: dict[str, Projection] = {}

    def bind(self, model: nn.Module) -> None:
        """Find what the base feeds each map on the text."""
        self.projections = (
            input_projections(model, self.text, self.energy, type(self).__name__) if self.strength else {}
        )

    def edited(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {
            **tensors,
            **{n: h.project(tensors[n], self.strength) for n, h in self.projections.items() if n in tensors},
        }
