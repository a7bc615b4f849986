"""AlignGuard: the part of the update that some rows' answers weigh, the rest, and what both share, each with a price of its own."""

from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import final

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, LowRank, method
from despur.core.adapter.updates import Pair, linear_pairs, refuse_shards
from despur.core.errors import BadInput
from despur.core.fisher.text import TextFisher
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.core.text.rows import Tokens
from despur.guard._alignment import Split, split
from despur.guard._vocabulary import check_vocabulary

FISHER, CURVATURE, COLLISION = 1000.0, 0.01, 100.0  # lambda_A, lambda_T and lambda_NC at strength 1
ENERGY = 0.99
TOKENS = 4096  # of each kind that are read
MAPS = 7  # of one layer
Weights = tuple[float, float, float]


@final
class _TwoParts(Edit):
    point = "loss"

    def __init__(
        self, text: OwnText, rows: Sequence[Tokens], weights: Weights, energy: float, n_rows: int, n_maps: int, seed: int
    ) -> None:  # fmt: skip
        super().__init__()
        if n_rows < 1 or n_maps < 1 or not 0 < energy <= 1:
            raise BadInput(
                f"align-guard got n_rows={n_rows}, maps_per_step={n_maps} and energy={energy}; at least 1 row and 1 map, and a share "
                "above 0 and up to 1, are needed"
            )
        if not text.rows:
            raise BadInput(
                "align-guard got no alignment rows, so it cannot tell what must stay. Give rows whose answers must not change, "
                "such as refusals: --rehearse-on FILE"
            )
        if not rows:
            raise BadInput(
                "align-guard got no training rows, and it needs their curvature. Give the rows that are learned"
            )
        self.texts = (_at_most(text.first(n_rows)), _at_most(OwnText.of_tokens(rows[:n_rows], "training rows")))
        self.weights, self.energy, self.n_maps, self.seed = weights, energy, n_maps, seed
        self.pairs: dict[str, Pair] = {}
        self.split: dict[str, Split] = {}

    def bind(self, model: nn.Module) -> None:
        """Measure the base's Fisher information on both kinds of rows, once."""
        if not any(self.weights):
            return
        self.pairs = linear_pairs(model, "align_guard")
        for text in self.texts:
            check_vocabulary(model, text.rows, "an alignment or training row")
        with as_base(model) as base:
            alignment, task = (
                TextFisher(base, [*self.pairs], t.rows, labels="sampled", seed=self.seed, starts=t.starts).kronecker()
                for t in self.texts
            )
        self.split = split(alignment, task, self.energy)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        if not any(self.weights):
            return tensors
        refuse_shards(ctx.model, "align_guard")
        fisher, curvature, collision = self.weights
        terms: list[Tensor] = []
        drawn = set(torch.randperm(len(self.pairs), generator=ctx.rng)[: self.n_maps].tolist())
        curvature, collision = (w * len(self.pairs) / len(drawn) for w in (curvature, collision))
        for i, (name, pair) in enumerate(self.pairs.items()):
            dense = i in drawn and bool(curvature or collision)  # the first term multiplies no square matrices
            if not (fisher or dense):
                continue
            one = self.split[name]
            turned = one.turned(LowRank(*pair.factors(ctx.model)))
            if fisher:
                terms.append(fisher / 2 * one.importance(turned))
            if dense:
                aligned, task = one.parts(turned)
                if curvature:
                    terms.append(curvature / 2 * one.curvature(task))
                if collision:
                    terms.append(collision / 2 * one.collision(aligned, task))
        return {**tensors, "loss": tensors["loss"] + torch.stack(terms).sum()}


def _at_most(text: OwnText) -> OwnText:
    """As many rows as have `TOKENS` tokens together, at least one."""
    return text.first(max(1, bisect(list(accumulate(map(len, text.rows))), TOKENS)))


@method(room="guard", paper="Das et al. 2025 (AlignGuard-LoRA), arXiv:2508.02079", cost=1.6)
def align_guard(
    generic: OwnText, rows: Sequence[Tokens], *, strength: float = 1.0, fisher: float = 1.0, curvature: float = 1.0,
    collision: float = 1.0, energy: float = ENERGY, n_rows: int = 256, maps_per_step: int = MAPS, seed: int = 0,
) -> Edit:  # fmt: skip
    """Hold an update still where some rows' answers feel it, and the rest of it apart and small (AlignGuard-LoRA).

    Take it where what must stay can be written down, as refusals of unsafe requests can, and nothing but weights may be read
    while training. Both kinds of rows are read once, before training.

        W = a + t,   a: on the eigenvectors of F, over all maps, that have the share `energy` of its trace;   t: the rest
        loss = task + 500 strength (fisher <a, F a> + 0.00001 curvature <t, H t> + 0.1 collision (overlap + nearness) / 2)
        overlap = sum_ij F_ij,ij |a_ij t_ij|,   nearness = (|aᵀ t| + |a tᵀ|) / 2 of F^½ a and F^½ t

    Args:
        generic: Alignment rows; a row's answer counts, from its start on.
        rows: The training rows as tokens; H is measured on their labels.
        strength: Weight of all three terms; 1 is lambda_A = 1000, 0 leaves training bit-identical.
        fisher: Weight of the alignment part's penalty, of that; 0 is without it.
        curvature: Weight of the task part's penalty; 1 is lambda_T = 0.01, 0 is without it.
        collision: Weight of what both parts share; 1 is lambda_NC = 100, 0 is without it.
        energy: Share of the alignment rows' Fisher information that the alignment part has, in (0, 1].
        n_rows: Rows of each kind that are read, as far as 4,096 tokens go.
        maps_per_step: Of how many maps, drawn for each step, the last two terms are measured, for all of them; they multiply square
            matrices, the first term does not.
        seed: Seed of the drawn labels.

    Returns:
        Edit at "loss".

    Raises:
        BadInput: no rows of either kind, no such share; Fisher information that is zero or not finite (raised when training begins).
        CannotAttach: anything but LoRA on linear maps is trained (raised when training begins), or it is sharded.

    Example:
        >>> align_guard(OwnText(((1, 2, 3),)), [{"input_ids": [1, 2], "labels": [-100, 2]}], collision=0.0).point
        'loss'

    Source: Das et al. 2025, arXiv:2508.02079, abstract only: the split, the three terms and their sum.
    Differs: F and H are Kronecker-factored, labels drawn. The terms' weights and both parts of the collision are ours: coordinates
        overlap in the metric F has on its diagonal, and since a and t are at right angles in F as they are, the spaces that they
        write and read are compared (the Frobenius norm of the products is zero where all principal angles are right ones). Without a
        norm below, so that all terms are squared lengths.
    Limits: holds what the rows' answers feel near the base. Keeps four square and three d_out d_in matrices a map, and eigenvectors of a
        map of width d cost d³ once: for maps of thousands, minutes.
    """
    sizes: Weights = (FISHER * fisher, CURVATURE * curvature, COLLISION * collision)
    return _TwoParts(generic, rows, tuple(strength * w for w in sizes), energy, n_rows, maps_per_step, seed)  # type: ignore[arg-type]
