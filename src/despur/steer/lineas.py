"""LinEAS: one affine map a coordinate at every layer, learned together so that activations are distributed as the target's."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Context, Edit, Site, attach, method
from despur.core.errors import BadInput
from despur.core.model.anatomy import Anatomy
from despur.core.model.at_sites import AtSites
from despur.core.model.capture import last_layer, stopped_behind
from despur.core.model.states import evaluating
from despur.core.text.rows import pad_rows

FEWEST = 8  # rows of a kind: of fewer, a coordinate's quantiles say nothing
RATE = 0.02  # Adam's at the first step; it falls to zero
Rows = Sequence[Sequence[int]]
Maps = dict[Site, tuple[Float[Tensor, " d"], Float[Tensor, " d"]]]


@final
class AffineMap(Edit):
    """x + strength ((gain - 1) x + shift): a scale and a shift of its own for each coordinate, in float32."""

    point = "activation"

    def __init__(self, gain: Float[Tensor, " d"], shift: Float[Tensor, " d"], strength: float = 1.0) -> None:
        super().__init__()
        self.gain, self.shift, self.strength = gain, shift, strength

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """(*b, d) -> (*b, d)."""
        return {name: self._moved(x) for name, x in tensors.items()}

    def _moved(self, x: Tensor) -> Tensor:
        wide, (gain, shift) = x.float(), (t.to(x.device) for t in (self.gain, self.shift))
        return (wide + self.strength * ((gain - 1) * wide + shift)).to(x.dtype)


@final
class _Means(Edit):
    """Apply a map and keep each row's mean over its tokens, the first left out."""

    point = "activation"

    def __init__(self, edit: Edit, mask: Tensor) -> None:
        super().__init__()
        self.edit, self.weights = edit, mask[..., None].float() / mask.sum(1)[:, None, None]
        self.mean = torch.zeros(())

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        out = self.edit(tensors, ctx)
        self.mean = (next(iter(out.values())).float() * self.weights).sum(1)
        return out


def row_means(model: nn.Module, rows: Rows, edits: Mapping[Site, Edit]) -> list[Float[Tensor, "n d"]]:
    """Mean activation of each row behind the edit of each site, with gradients; the first token is left out."""
    device = next(model.parameters()).device
    ids, mask = (x.to(device) for x in pad_rows(rows, 0))
    counted = mask.clone()
    counted[:, 0] = 0
    seen = {site: _Means(edit, counted) for site, edit in edits.items()}
    with evaluating(model), attach(model, seen), stopped_behind(last_layer(model, list(edits))):
        model(input_ids=ids, attention_mask=mask)
    return [s.mean for s in seen.values()]


def distance(one: Float[Tensor, "n d"], two: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Squared Wasserstein distance of each coordinate's two samples, their mean, in units of the second's variance.

    Example:
        >>> float(distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [1.0]])))  # all lies 1 further; variance 1
        1.0
    """
    n = min(len(one), len(two))
    a, b = quantiles(one, n), quantiles(two, n)
    return (a - b).square().mean() / two.var(0, correction=0).mean().clamp(min=1e-12)


def quantiles(x: Float[Tensor, "m d"], n: int) -> Float[Tensor, "d n"]:
    """Of each coordinate's sample, n of them from least to most."""
    return nn.functional.interpolate(x.sort(0)[0].T[None], size=n, mode="linear", align_corners=True)[0]


def fit_maps(
    model: nn.Module, source: Rows, target: Rows, *, sparsity: float = 0.0, steps: int = 100, towards: nn.Module | None = None
) -> Maps:  # fmt: skip
    """Learn the maps of all layers together; the model stays as it is.

    Args:
        model: That is steered.
        source: Rows whose activations are moved.
        target: Rows to whose activations.
        sparsity: See `lineas`.
        steps: Of Adam.
        towards: The model that reads the target, a tune's base for instance; `model` itself if left out.

    Raises:
        BadInput: too few rows of a kind, rows of one token, or activations that are not finite.
    """
    if min(len(source), len(target)) < FEWEST or min(map(len, [*source, *target])) < 2 or steps < 1 or sparsity < 0:
        raise BadInput(
            f"lineas got {len(source)} source and {len(target)} target rows, steps={steps}, sparsity={sparsity}; it needs {FEWEST} rows "
            "of each kind with 2 tokens or more, for quantiles, at least 1 step, and no negative sparsity"
        )
    anatomy, device = Anatomy.of(model), next(model.parameters()).device
    sites = anatomy.sites
    none, zero = torch.ones(anatomy.width, device=device), torch.zeros(anatomy.width, device=device)
    with torch.no_grad():
        wanted = row_means(towards or model, target, {s: AffineMap(none, zero) for s in sites})
    moves = torch.zeros(len(sites), 2, anatomy.width, device=device, requires_grad=True)  # gain - 1, and shift
    adam = torch.optim.Adam([moves], lr=RATE)
    for step in range(steps):
        with torch.enable_grad():
            means = row_means(model, source, {s: AffineMap(1 + m[0], m[1]) for s, m in zip(sites, moves, strict=True)})
            loss = torch.stack([distance(m, w.to(m)) for m, w in zip(means, wanted, strict=True)]).sum()
        if not torch.isfinite(loss):
            raise BadInput(
                f"lineas: activations are {float(loss)} apart after {step} steps. Look for NaN in the model or the rows"
            )
        rate = adam.param_groups[0]["lr"] = RATE * (1 - step / steps)
        (moves.grad,) = torch.autograd.grad(loss, [moves])
        adam.step()
        if sparsity:
            size = (adam.state[moves]["exp_avg_sq"] / (1 - 0.999 ** (step + 1))).sqrt()  # Adam's step is in units of it
            with torch.no_grad():
                moves.copy_(shrunk(moves, rate * sparsity / size.clamp(min=1e-8)))
    return {s: (1 + m[0], m[1]) for s, m in zip(sites, moves.detach(), strict=True)}


def shrunk(moves: Float[Tensor, "l 2 d"], by: Float[Tensor, "l 2 d"]) -> Float[Tensor, "l 2 d"]:
    """The proximal step of the sparse group lasso: every number towards 0, then every layer as a whole."""
    each = moves.sign() * (moves.abs() - by).clamp(min=0)
    length = each.flatten(1).norm(dim=1).clamp(min=1e-12)
    return each * (1 - by.flatten(1).mean(1) / length).clamp(min=0)[:, None, None]


@final
class _LinEAS(Edit):
    point = "activation"

    def __init__(self, source: Rows, target: Rows, strength: float, sparsity: float, steps: int) -> None:
        super().__init__()
        self.source, self.target, self.strength, self.sparsity, self.steps = source, target, strength, sparsity, steps
        self.maps: Maps = {}

    def bind(self, model: nn.Module) -> None:
        """Learn the maps on this model, an adapter that is on included."""
        anatomy = Anatomy.of(model)
        self.maps = dict.fromkeys(anatomy.sites, (torch.ones(anatomy.width), torch.zeros(anatomy.width)))
        if self.strength:
            self.maps = fit_maps(model, self.source, self.target, sparsity=self.sparsity, steps=self.steps)
        edits = {site: AffineMap(*m, self.strength) for site, m in self.maps.items()}
        self.all = AtSites(edits, dict.fromkeys(edits, anatomy.width), self.strength)
        self.all.bind(model)
        self.sites = self.all.sites

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return self.all(tensors, ctx)


@method(
    room="steer",
    paper="Rodriguez et al. 2025 (LinEAS), arXiv:2503.10679",
    takes={"source": "negative", "target": "positive"},
)
def lineas(source: Rows, target: Rows, *, strength: float = 1.0, sparsity: float = 0.0, steps: int = 100) -> Edit:
    """Move the stream so that text of one kind is distributed, coordinate by coordinate, as text of another kind is.

    Choose it over `caa` where a few dozen unpaired texts of each kind are at hand: it learns how far to go, layer by layer, from what
    comes out behind the last one. Binding it takes `steps` forward and backward passes over the source; using it one product.

        h_l <- h_l + strength ((w_l - 1) h_l + b_l),   w, b = argmin sum_l W2²(source behind map l, target) + sparsity (|m|_1 + sum_l |m_l|)

    Args:
        source: Rows of token ids that the maps are to move, 8 or more; 32 will do.
        target: Rows that they are moved to; need not be of the same number, nor about the same.
        strength: How much of the way, 1 as learned; 0 leaves every activation bit-identical.
        sparsity: Weight of the sparse group lasso on what the maps change, 0 for none; about 0.01 leaves a part of the coordinates.
        steps: Of Adam, at a rate that falls to zero.

    Returns:
        Edit at "activation": `edit.bind(model)`, then `despur.attach(model, dict.fromkeys(edit.sites, edit))`.

    Raises:
        BadInput: fewer than 8 rows of a kind, rows of one token, or activations that are not finite (raised when it is bound).

    Example:
        >>> lineas(((1, 2, 3),) * 8, ((1, 4, 5),) * 8, strength=0.5).point
        'activation'

    Source: Rodriguez et al. 2025, arXiv:2503.10679; a layer at a time in closed form it is Linear-AcT, arXiv:2410.23054.
    Differs: at layers' outputs, of a row's mean over tokens; Adam before each proximal step; layers in units of the target's variance.
    Limits: matches each coordinate by itself, not what couples them. Whatever else tells the two kinds of text apart moves, too.
    """
    return _LinEAS(source, target, strength, sparsity, steps)
