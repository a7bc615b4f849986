"""Directions along which an adapter moves the activations: their mean, and their principal components."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import validate_data
from torch import Tensor

from despur.core import Site, Subspace, method
from despur.core._capture import capture
from despur.core._finder import Finder
from despur.core.errors import BadInput


@method(room="find", paper="Belrose et al. 2023; model diffing: arXiv:2510.13900")
class MeanDifference(Finder):
    """Take the direction from one mean to the other.

    With labels y (0 or 1) it is the difference of the class means; without, the rows are themselves
    differences (adapter minus base) and it is their mean. Cost O(n d).

        v = mean(X[y == 1]) - mean(X[y == 0])     or     v = mean(X)

    Attributes:
        factors_: One factor of one direction; its centre is the overall mean with labels, zero without.

    Raises:
        BadInput: the means coincide, or y has not two classes.

    Example:
        >>> rows = np.array([[1.0, 1.0], [3.0, 3.0]])
        >>> MeanDifference().fit(rows).factors_[0].read
        tensor([[0.7071, 0.7071]])

    Source: difference in means, Belrose et al. 2023; as persona vectors in arXiv:2507.21509.
    Differs: nothing known.
    Limits: one direction; mixes length, topic and register of the two sides when they differ in those.
    """

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "MeanDifference":
        """Fit on rows X (n, d), with classes y (n,) or none."""
        rows = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32]), dtype=np.float64)
        labels = None if y is None else np.asarray(y)
        if labels is None or len(np.unique(labels)) == 1:
            direction, center = rows.mean(0), np.zeros(rows.shape[1])
        else:
            high = labels == np.unique(labels)[-1]
            direction, center = rows[high].mean(0) - rows[~high].mean(0), rows.mean(0)
        if np.linalg.norm(direction) <= 1e-12 * max(1.0, float(np.abs(rows).max())):
            raise BadInput("the means coincide, so there is no direction between them. Do the two sides differ at all?")
        found = Subspace.orthonormal(torch.from_numpy(direction[None]), method="MeanDifference", n=len(rows))
        self.factors_ = (
            Subspace(found.read, found.write, torch.from_numpy(center).float(), found.site, found.evidence),
        )
        return self


@method(room="find", paper="Casademunt et al. 2025, arXiv:2507.16795 (its PCA variant)")
class DifferencePCA(Finder):
    """Take the leading principal components of activation differences.

    Cost O(n d²). `factors_` holds one factor of `rank` directions, in order of the variance they explain.

    Args:
        rank: Number of directions.
        center: Subtract the mean first. False keeps the mean shift as part of what is found.

    Attributes:
        factors_: One factor; `evidence["share"]` holds each direction's share of the energy.

    Raises:
        BadInput: fewer independent rows than `rank`.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(50, 4)) * [9, 1, 1, 1]
        >>> DifferencePCA(rank=1).fit(rows).factors_[0].read.abs().argmax().item()
        0

    Source: Casademunt et al. 2025, arXiv:2507.16795.
    Differs: nothing is chosen by a reader; not centred by default, since the mean shift is what a
        constant factor adds.
    Limits: finds what is large, not what is causal.
    """

    def __init__(self, *, rank: int = 1, center: bool = False) -> None:
        self.rank, self.center = rank, center

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "DifferencePCA":
        """Fit on difference rows X (n, d)."""
        rows = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32]), dtype=np.float64)
        if self.center:
            rows = rows - rows.mean(0)
        energy, basis = np.linalg.eigh(rows.T @ rows)
        energy, basis = energy[::-1].clip(0), basis[:, ::-1].T
        independent = int((energy > 1e-12 * max(energy[0], 1e-300)).sum())
        if energy[0] <= 0 or independent < self.rank:
            raise BadInput(
                f"the differences span {independent} directions, rank={self.rank} was asked. Take a smaller rank"
            )
        shares = (energy[: self.rank] / energy.sum()).tolist()
        directions = torch.from_numpy(basis[: self.rank].copy())
        self.factors_ = (Subspace.orthonormal(directions, method="DifferencePCA", share=shares, n=len(rows)),)
        return self


def from_activations(
    model: Any,
    rows: Sequence[Sequence[int]],
    sites: Sequence[Site],
    *,
    how: Literal["pca", "mean"] = "pca",
    rank: int = 1,
    batch: int = 32,
    starts: Sequence[int] | None = None,
) -> tuple[Subspace, ...]:
    """Find how an adapter moves the stream: one factor a site, from adapter minus base on the same text.

    Args:
        model: PEFT model; its base is the model with the adapter off.
        rows: Token rows, off-task text for choice. The first position of each is dropped.
        sites: Layers to look at, such as `Site("model.layers.2")`.
        how: Principal components of the differences, or their mean.
        rank: Directions a site (the mean has one).
        batch: Rows in one forward pass.
        starts: First position of each row that counts.

    Raises:
        BadInput: the model carries no adapter, or it moves nothing.

    Example:
        >>> # factors = from_activations(peft_model, own_text.rows, [Site("model.layers.2")])
    """
    if not hasattr(model, "disable_adapter"):
        raise BadInput(
            "from_activations needs a PEFT model, to switch its adapter off. Load it with PeftModel.from_pretrained"
        )
    moved = activation_differences(model, rows, sites, batch=batch, starts=starts)
    found = []
    for site in sites:
        finder = DifferencePCA(rank=rank) if how == "pca" else MeanDifference()
        (factor,) = finder.fit(moved[site].double().numpy()).factors_
        found.append(replace(factor, site=site, evidence={**factor.evidence, "rows": len(rows)}))
    return tuple(found)


def mean_shift(
    model: Any, rows: Sequence[Sequence[int]], factor: Subspace, *, starts: Sequence[int] | None = None
) -> Float[Tensor, " d"]:
    """Measure how far the adapter moves the stream along a factor, on average over tokens: a vector to steer with.

    Args:
        model: PEFT model; its base is the model with the adapter off.
        rows: Token rows.
        factor: Its site names one layer.
        starts: First position of each row that counts.
    """
    moved = activation_differences(model, rows, [factor.site], starts=starts)[factor.site]
    return factor.decode(factor.encode(moved).mean(0))


def activation_differences(
    model: Any,
    rows: Sequence[Sequence[int]],
    sites: Sequence[Site],
    *,
    batch: int = 32,
    starts: Sequence[int] | None = None,
) -> dict[Site, Tensor]:
    """Take adapter minus base at each site, (n, d), a line a token.

    Args:
        model: PEFT model; its base is the model with the adapter off.
        rows: Token rows.
        sites: Where to look.
        batch: Rows in one forward pass.
        starts: First position of each row that counts.
    """
    tuned, _ = capture(model, rows, sites, batch=batch, starts=starts)
    with model.disable_adapter():
        plain, _ = capture(model, rows, sites, batch=batch, starts=starts)
    return {site: tuned[site] - plain[site] for site in sites}
