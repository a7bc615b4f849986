"""How an adapter moves the stream: adapter minus base on the same text, its mean and its main directions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from despur.core import Site, Subspace, method
from despur.core.errors import BadInput
from despur.core.model.capture import capture
from despur.core.model.own_text import OwnText
from despur.core.model.states import check_switchable


@method(
    room="find",
    paper="Casademunt et al. 2025, arXiv:2507.16795 (its PCA variant); model diffing: arXiv:2510.13900",
    takes={"model": "tuned", "rows": "text"},
)
def from_activations(
    model: Any,
    rows: OwnText | Sequence[Sequence[int]],
    sites: Sequence[Site],
    *,
    how: Literal["pca", "mean"] = "pca",
    rank: int = 1,
    batch: int = 32,
    starts: Sequence[int] | None = None,
) -> tuple[Subspace, ...]:
    """Find how an adapter moves the stream: one factor a site that it moves, from adapter minus base on the same text.

    Choose it where base and adapter can be run on text: it sees what the update does, not what it could do. Costs two forward
    passes over the text, and O(n d²) a site.

        D = h_adapter(x) - h_base(x) a token;   `DifferencePCA` of D, or its `MeanDifference`

    Args:
        model: PEFT model; its base is the model with the adapter off.
        rows: Token rows, off-task text for choice. The first position of each is dropped.
        sites: Layers to look at, such as `Site("model.layers.2")`.
        how: Principal components of the differences, or their mean.
        rank: Directions a site, at most: fewer where it moves the stream in fewer (the mean has one).
        batch: Rows in one forward pass.
        starts: First position of each row that counts.

    Returns:
        One Subspace (k, d) a site that the adapter moves.

    Raises:
        BadInput: the model carries no adapter, or it moves none of the sites, or to NaN.

    Example:
        >>> # factors = from_activations(peft_model, own_text, [Site("model.layers.2")])

    Source: the PCA variant of Casademunt et al. 2025; differences of one text as in arXiv:2510.13900.
    Differs: nothing is chosen by a reader; not centred, since the mean shift is what a constant factor adds.
    Limits: finds what is large on this text, not what is causal, and nothing that the text does not bring up.
    """
    check_switchable(model, "from_activations")
    given = rows.rows if isinstance(rows, OwnText) else rows
    moved = activation_differences(model, given, sites, batch=batch, starts=starts)
    if not any(stream.any() for stream in moved.values()):
        raise BadInput(
            f"on this text the adapter moves the stream at none of {len(sites)} sites. Was it trained, or does it act behind them?"
        )
    return tuple(
        factor_of(stream, site, how=how, rank=rank, rows=len(given)) for site, stream in moved.items() if stream.any()
    )


def factor_of(
    moved: Float[Tensor, "n d"], site: Site, *, how: Literal["pca", "mean"] = "pca", rank: int = 1, rows: int = 0
) -> Subspace:
    """Take the factor of differences that were measured already; see `from_activations`.

    Args:
        moved: Adapter minus base, a line a token.
        site: Where they were measured.
        how: Their principal components, or their mean.
        rank: Directions, at most (the mean has one).
        rows: Rows of text behind them, for the evidence.

    Raises:
        BadInput: the adapter moves nothing, or to NaN.
    """
    from despur.find.difference_pca import DifferencePCA  # scikit-learn takes a second to import
    from despur.find.mean_difference import MeanDifference

    if not moved.isfinite().all():
        raise BadInput(
            f"the activations at {site.module!r} contain NaN or Inf; they must be finite. Load the model in bfloat16 or float32"
        )
    finder = MeanDifference() if how == "mean" else DifferencePCA(rank=rank)
    (factor,) = finder.fit(moved.double().numpy()).factors_
    return replace(factor, site=site, evidence={**factor.evidence, "rows": rows})


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
