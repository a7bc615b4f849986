"""Directions that many groups of rows share, against groups that share nothing."""

from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from despur.core import Subspace, method
from despur.core.errors import BadInput
from despur.core.finder import Finder
from despur.find._ranked import Null, rank_directions

Weigh = Literal["groups", "energy"]


@method(room="find", paper="after Gilligan-Lee et al. 2026, arXiv:2605.27676")
class SharedDirections(Finder):
    """Rank directions by how much of every group's energy lies along them.

    Each group (a module) counts alike, whatever its size, so what wins is agreement between modules and
    not one loud matrix. The null rotates every group's rows at random, keeping lengths and angles: a
    direction beats it when its agreement is above the 1 - level quantile of the null's *largest* one.
    With n = sum r rows the leading directions cost O(n d) a step, 60 to 150 steps. Small rows are turned
    `nulls` times over. For large ones the quantile is computed: the spectrum of freely turned matrices has
    a known edge and its largest value a known law about it, which costs no draws, O(n).

        agreement(v) = mean_g ||X_g v||² / ||X_g||²              groups alike
                     = sum_g ||X_g v||² / sum_g ||X_g||²         by energy

    Args:
        rank: Largest number of candidates.
        weigh: `"groups"`: each group counts alike; `"energy"`: rows count as they are, so that one loud group may win.
        nulls: Random rotations behind the threshold; 0 sets none.
        level: Share of unrelated adapters in which the first candidate would pass, at most.
        seed: Seeds the rotations.
        null: `"rotation"` draws, `"edge"` computes, `"auto"` draws up to 131,072 numbers in the rows.

    Attributes:
        factors_: Candidates of one direction each, best first, whether they beat the null or not.
        components_: (k, d) the same as unit rows.
        agreement_: (k,) their agreement.
        threshold_: What agreement the null reaches at that level.
        found_: How many of the leading candidates beat it.
        null_: Which null it was: `"rotation"`, `"edge"`, or `"none"` where `nulls` is 0.
        groups_: How many groups have a row that is not zero.

    Raises:
        BadInput: no row that is not zero.

    Example:
        >>> rows = np.eye(12)[[0, 1, 0, 2, 0, 3]]
        >>> finder = SharedDirections(rank=2, nulls=40).fit(rows, groups=[0, 0, 1, 1, 2, 2])
        >>> finder.found_, finder.factors_[0].read[0].abs().argmax().item()
        (1, 0)

    Source: reconstruction from the abstract of arXiv:2605.27676; the edge after Lee & Schnelli 2016,
        arXiv:1409.4979.
    Differs: agreement in place of singular values; null by rotation.
    Limits: modules of one model agree a little anyway (they live in one geometry), so a neutral tune
        passes this null often: it is a screen, and the causal check decides. The computed quantile errs
        on the safe side: at a level of .05 it lets .005 to .04 pass, so it misses weak directions more often than
        19 rotations do, most where few modules agree (`benchmarks/null_level.py`); ask for `"rotation"` there.
    """

    def __init__(
        self,
        *,
        rank: int = 8,
        weigh: Weigh = "groups",
        nulls: int = 100,
        level: float = 0.05,
        seed: int = 0,
        null: Null = "auto",
    ) -> None:
        self.rank, self.nulls, self.level, self.seed = rank, nulls, level, seed
        self.weigh: Weigh = weigh
        self.null: Null = null

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "SharedDirections":
        """Fit on rows X (n, d) with the module of each row in groups (n,); without groups, each row is one."""
        given = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32]))
        labels = (np.arange(len(given)) if groups is None else np.asarray(groups)).tolist()
        code = {name: i for i, name in enumerate(dict.fromkeys(labels))}
        codes = np.array([code[name] for name in labels])
        rows = torch.from_numpy(given[np.argsort(codes, kind="stable")])  # a copy
        parts = [part for part in rows.split(np.bincount(codes).tolist()) if part.norm() > 0]
        if not parts:
            raise BadInput("every row is zero, so there is no direction to find. Was the adapter trained?")
        sizes = [len(part) for part in parts]
        if len(sizes) < len(code):
            rows = torch.cat(parts)
        if self.weigh == "energy":
            rows /= rows.norm()
        else:
            for part in rows.split(sizes):
                part.div_(float(part.norm()))
            rows /= len(sizes) ** 0.5
        ranked = rank_directions(
            rows, sizes, rank=self.rank, null=self.null, nulls=self.nulls, level=self.level, seed=self.seed
        )
        self.agreement_, self.threshold_, self.found_ = ranked.agreement, ranked.threshold, ranked.found
        self.components_, self.null_, self.groups_ = ranked.directions.numpy(), ranked.null, len(sizes)
        self.factors_ = tuple(
            Subspace.orthonormal(
                ranked.directions[i : i + 1], method="SharedDirections", score=float(ranked.agreement[i]),
                control=ranked.threshold, p=float(ranked.p[i]), n=len(sizes), seed=self.seed,
            )
            for i in range(len(ranked.agreement))
        )  # fmt: skip
        return self
