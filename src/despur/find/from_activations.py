"""How an adapter moves the stream: adapter minus base on the same text, its mean and its main directions."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import Site, Subspace
from despur.core.errors import BadInput
from despur.core.model.capture import capture
from despur.core.model.states import check_switchable


def mean_direction(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "1 d"]:
    """The rows' mean, as one direction of any length.

    Raises:
        BadInput: it is zero.
    """
    return apart(rows.mean(0), rows)


def apart(direction: Float[np.ndarray, " d"], rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "1 d"]:
    """The difference of two means of some rows, if there is one.

    Raises:
        BadInput: there is none.
    """
    if np.linalg.norm(direction) <= 1e-12 * max(1.0, float(np.abs(rows).max())):
        raise BadInput("the means coincide, so there is no direction between them. Do the two sides differ at all?")
    return direction[None]


def principal(rows: Float[np.ndarray, "n d"], rank: int) -> tuple[Float[np.ndarray, "k d"], list[float]]:
    """Principal directions of the rows, their mean left in, and each one's share of the energy.

    Raises:
        BadInput: fewer independent rows than `rank`.
    """
    energy, basis = np.linalg.eigh(rows.T @ rows)
    energy, basis = energy[::-1].clip(0), basis[:, ::-1].T
    independent = int((energy > 1e-12 * max(energy[0], 1e-300)).sum())
    if energy[0] <= 0 or independent < rank:
        raise BadInput(f"the differences span {independent} directions, rank={rank} was asked. Take a smaller rank")
    return basis[:rank].copy(), (energy[:rank] / energy.sum()).tolist()


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
    check_switchable(model, "from_activations")
    moved = activation_differences(model, rows, sites, batch=batch, starts=starts)
    return tuple(factor_of(moved[site], site, how=how, rank=rank, rows=len(rows)) for site in sites)


def factor_of(
    moved: Float[Tensor, "n d"], site: Site, *, how: Literal["pca", "mean"] = "pca", rank: int = 1, rows: int = 0
) -> Subspace:
    """Take the factor of differences that were measured already; see `from_activations`.

    Args:
        moved: Adapter minus base, a line a token.
        site: Where they were measured.
        how: Their principal components, or their mean.
        rank: Directions (the mean has one).
        rows: Rows of text behind them, for the evidence.

    Raises:
        BadInput: the adapter moves nothing, or in fewer directions than `rank`.
    """
    differences = moved.double().numpy()
    evidence: dict[str, Any] = {"n": len(differences), "rows": rows}
    if how == "mean":
        directions, evidence["method"] = mean_direction(differences), "MeanDifference"
    else:
        directions, evidence["share"] = principal(differences, rank)
        evidence["method"] = "DifferencePCA"
    return Subspace.orthonormal(torch.from_numpy(directions), site=site, **evidence)


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
    return mean_along(activation_differences(model, rows, [factor.site], starts=starts)[factor.site], factor)


def mean_along(moved: Float[Tensor, "n d"], factor: Subspace) -> Float[Tensor, " d"]:
    """Take the mean shift of differences that were measured already; see `mean_shift`."""
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
