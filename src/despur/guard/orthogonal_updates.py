"""Orthogonal gradients (OGD, GPM): learn nothing from inputs like those of the text."""

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Context, Edit, Site, method, record
from despur.core.adapter.updates import is_linear, trained_updates
from despur.core.errors import BadInput, CannotAttach
from despur.core.model.own_text import OwnText
from despur.core.model.roles import base_modules
from despur.core.model.states import as_base
from despur.core.text.rows import batches
from despur.guard._held import Held


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
                keep[:, 0] = False  # massive activations at the first token would be all of the energy
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


def held_inputs(model: nn.Module, text: OwnText, energy: float, guard: str) -> dict[str, Held]:
    """What each trained matrix must not read.

    Raises:
        CannotAttach: something trained reads no vectors: embeddings, biases, norms.
    """
    found, modules = trained_updates(model, guard), base_modules(model)
    names = {n: pair.down for n, pair in found.pairs.items()}
    names |= {n.removeprefix("base_model.model.").removesuffix(".weight"): n for n in found.whole}
    other = [n for n in names if n not in modules or not is_linear(modules[n])]
    if other:
        raise CannotAttach(f"{guard} holds what linear maps read, and {other[0]!r} is trained. Train linear maps alone")
    held: dict[str, Held] = {}
    was_training = model.training
    model.eval()
    for module, basis in input_bases(model, list(names), text, energy).items():
        name = names[module]
        # GPT-2's Conv1D keeps its weight as (d_in, d_out)
        first = name in found.whole and type(modules[module]).__name__ == "Conv1D"
        held[name] = Held(basis, rows=first)
        held[name].meet(model.get_parameter(name))
        if name in found.whole:
            held[name].keep(model.get_parameter(name).detach())
    model.train(was_training)
    return held


class _LeaveInputs(Edit):
    def __init__(self, text: OwnText, energy: float, strength: float, rows: int) -> None:
        super().__init__()
        if not 0 < energy < 1 or rows < 1:
            raise BadInput(f"energy={energy}, rows={rows}; energy lies between 0 and 1, and at least 1 row is needed")
        self.text, self.energy, self.strength = OwnText(text.rows[:rows], text.origin), energy, strength
        self.held: dict[str, Held] = {}

    def bind(self, model: nn.Module) -> None:
        """Find what the base feeds each map on the text."""
        self.held = held_inputs(model, self.text, self.energy, type(self).__name__) if self.strength else {}

    def edited(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {**tensors, **{n: h.project(tensors[n], self.strength) for n, h in self.held.items() if n in tensors}}


@final
class _LeaveInputsGradients(_LeaveInputs):
    point = "gradient"

    def bind(self, model: nn.Module) -> None:
        super().bind(model)
        for held in self.held.values():
            held.anchor = None  # a gradient is a change: all of it along the basis goes

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return self.edited(tensors)


@final
class _LeaveInputsWeights(_LeaveInputs):
    point = "weight"

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return self.edited(tensors)


@method(room="guard", paper="Saha et al. 2021, arXiv:2103.09762")
def orthogonal_gradients(text: OwnText, *, strength: float = 1.0, energy: float = 0.99, rows: int = 256) -> Edit:
    """Project the gradient off what the base feeds each map on some text (GPM, OGD for layers).

    What a map never reads on the text cannot change what it does there. As published, for plain SGD on whole weights, and
    so here the control of `orthogonal_updates`: Adam rotates the step out of the subspace again, and LoRA's random
    A reads the text's inputs before anything is learned. Costs O(r d k) a matrix and step.

        dA <- dA (I - M Mᵀ),   M the leading directions of the map's inputs that hold `energy` of their squares

    Args:
        text: Own text, or generic text.
        strength: Share of the gradient along M that is taken out, in [0, 1].
        energy: Share of the inputs' squared length that M holds, in (0, 1).
        rows: Rows of text that are read, once, before training.

    Returns:
        Edit at "gradient".

    Raises:
        BadInput: energy or rows out of range.
        CannotAttach: something trained reads no vectors (raised when training begins).

    Example:
        >>> orthogonal_gradients(OwnText(((1, 2, 3),)), energy=0.99).point
        'gradient'

    Source: Saha, Garg, Roy 2021, arXiv:2103.09762; orthogonal gradient descent: Farajtabar et al. 2019, arXiv:1910.07104.
    Differs: LoRA's A in place of W; one energy for all layers; each row's first token is left out.
    Limits: exact under plain SGD from an A that is projected already, and nowhere else: take `orthogonal_updates`.
    """
    return _LeaveInputsGradients(text, energy, strength, rows)


@method(room="guard", paper="after Wang et al. 2021 (Adam-NSCL), arXiv:2103.07113")
def orthogonal_updates(text: OwnText, *, strength: float = 1.0, energy: float = 0.99, rows: int = 256) -> Edit:
    """Learn only from inputs unlike those of some text, by projecting the weights after every optimiser step.

    The exact form of `orthogonal_gradients`: whatever the optimiser does, B A M = 0, so on the text each map does what the
    base's does, up to the share of its inputs that M leaves out. `grasp` forbids a few directions that a factor names; this
    forbids many that the text names, and the task pays where it needs the same ones. Costs O(r d k) a matrix and step.

        A <- A (I - M Mᵀ)      W <- W - (W - W0) M Mᵀ   (whole weights)

    Args:
        text: Own text, or generic text.
        strength: Share of the change along M that is taken out at each step, in [0, 1].
        energy: Share of the inputs' squared length that M holds, in (0, 1).
        rows: Rows of text that are read, once, before training.

    Returns:
        Edit at "weight".

    Raises:
        BadInput: energy or rows out of range.
        CannotAttach: something trained reads no vectors (raised when training begins).

    Example:
        >>> orthogonal_updates(OwnText(((1, 2, 3),))).point
        'weight'

    Source: Wang, Li, Sun, Xu 2021, arXiv:2103.07113, which projects Adam's update; M as in GPM, arXiv:2103.09762.
    Differs: the weights in place of the update, with the same effect and nothing for decay to leak through; on LoRA's A.
    Limits: M is measured on the base. Once earlier layers move, later ones meet other inputs.
    """
    return _LeaveInputsWeights(text, energy, strength, rows)
