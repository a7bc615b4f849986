"""What every finder promises: scikit-learn's contract, and that it finds what is there, in whatever frame and order."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.finder import Finder
from despur.core.materials import Materials
from despur.core.names import canonical
from despur.core.types import Subspace
from despur.testing.require import require

WIDTH, GROUPS, EACH = 24, 100, 6
FOUND, CHANCE = (
    0.95,
    0.6,
)  # cosines; of two random directions of that width it is 0.2, and above 0.6 in one of a thousand


class Planted(NamedTuple):
    """Rows in which one direction separates two classes, is most of the energy, and is shared by all groups.

    Args:
        rows: (n, d).
        y: Class of each row.
        groups: Group of each row.
        direction: The planted one.
    """

    rows: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"]
    direction: Float[np.ndarray, " d"]


def planted(size: float = 4.0, seed: int = 0) -> Planted:
    """Plant a direction: noise of size 1 in each coordinate, and `size` along it in every second row.

    Args:
        size: How far the classes are apart.
        seed: Of the noise and the direction.
    """
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=WIDTH)
    direction /= np.linalg.norm(direction)
    y = np.tile([0, 1], GROUPS * EACH // 2)
    rows = rng.normal(size=(len(y), WIDTH)) + size * y[:, None] * direction
    return Planted(rows, y, np.repeat(np.arange(GROUPS), EACH), direction)


def check_makes_whole_factors(method: Method, given: Materials, **options: Any) -> None:
    """Finite, `read @ write.T == I`, of the rows' width, with the method and the number of rows or groups as evidence."""
    data = planted()
    before = data.rows.copy()
    finder = build(method.name, given, **options)
    require(isinstance(finder, Finder), "it is no Finder")
    require(finder.fit(data.rows) is finder, "fit does not give the finder back")
    require(np.array_equal(data.rows, before), "it mutates its rows")
    require(len(finder.factors_), "it gives no factor")
    for factor in finder.factors_:
        require(isinstance(factor, Subspace) and factor.width == WIDTH, "a factor is no Subspace of the rows' width")
        require(torch.isfinite(factor.read).all() and torch.isfinite(factor.write).all(), "a factor holds NaN or Inf")
        require(
            torch.allclose(factor.read @ factor.write.T, torch.eye(factor.rank), atol=1e-5), "read @ write.T is not I"
        )
        require(canonical(factor.evidence["method"]) == method.name, "its evidence names another method")
        require(factor.evidence["n"] == len(data.rows), "its evidence counts other rows")


def check_recovers_what_was_planted(method: Method, given: Materials, **options: Any) -> None:
    """The first factor contains a direction that is easy to find."""
    for seed in range(3):
        data = planted(seed=seed)
        cosine = _along(_fit(method, given, options, data), data.direction)
        require(cosine > FOUND, f"it misses what was planted: cosine {cosine:.2f}, {FOUND} is asked")


def check_permuted_labels_find_nothing(method: Method, given: Materials, **options: Any) -> None:
    """With labels permuted at random, or without anything in the rows where it needs no labels, it finds chance."""
    data = planted(size=1.5)
    rng = np.random.default_rng(1)
    shuffled = [data._replace(y=rng.permutation(data.y)) for _ in range(9)]
    real = _fit(method, given, options, data)
    reads_labels = not torch.equal(real.read, _fit(method, given, options, shuffled[0]).read)
    empty = (
        shuffled if reads_labels else [planted(0.0, seed)._replace(direction=data.direction) for seed in range(1, 10)]
    )
    require(_along(real, data.direction) > FOUND - 0.05, "it misses what the labels point at")
    chance = float(np.median([_along(_fit(method, given, options, e), data.direction) for e in empty]))
    require(
        chance < CHANCE, f"it finds the direction where nothing points at it: cosine {chance:.2f} in the middle of nine"
    )


def check_turns_with_the_rows(method: Method, given: Materials, **options: Any) -> None:
    """Rows in another frame give the factor in that frame."""
    data = planted()
    frame = np.linalg.qr(np.random.default_rng(2).normal(size=(WIDTH, WIDTH)))[0]
    plain = _fit(method, given, options, data)
    turned = _fit(method, given, options, data._replace(rows=data.rows @ frame))
    for one, two in ((plain.read, turned.read), (plain.write, turned.write)):
        require(_alike(one.double().numpy() @ frame, two), "its factor does not turn with the rows")


def check_does_not_mind_their_order(method: Method, given: Materials, **options: Any) -> None:
    """Rows, classes and groups in another order give the same factor."""
    data = planted()
    order = np.random.default_rng(3).permutation(len(data.rows))
    mixed = Planted(data.rows[order], data.y[order], data.groups[order], data.direction)
    one, two = (_fit(method, given, options, d) for d in (data, mixed))
    require(_alike(one.read.double().numpy(), two.read), "its factor depends on the order of the rows")


def check_forgets_when_fitted_again(method: Method, given: Materials, **options: Any) -> None:
    """A finder that was fitted before is, fitted again, the same as a new one, bit for bit."""
    one, two = planted(seed=1), planted()
    used = build(method.name, given, **options).fit(one.rows, one.y, groups=one.groups)
    again = used.fit(two.rows, two.y, groups=two.groups).factors_
    fresh = build(method.name, given, **options).fit(two.rows, two.y, groups=two.groups).factors_
    require(len(again) == len(fresh), "it keeps something of an earlier fit")
    require(
        all(torch.equal(a.read, b.read) for a, b in zip(again, fresh, strict=True)),
        "it keeps something of an earlier fit",
    )


def check_single_precision_does(method: Method, given: Materials, **options: Any) -> None:
    """In float32 it finds what it finds in float64, all factors that stand out, to a thousandth."""
    data = planted()
    double, single = (
        build(method.name, given, **options).fit(data.rows.astype(dtype)).factors_ for dtype in (np.float64, np.float32)
    )
    require(len(double) == len(single), "in float32 it finds another number of factors")
    require(
        all(torch.allclose(a.read, b.read, atol=1e-3) for a, b in zip(double, single, strict=True)), "it needs float64"
    )


SUITE = (
    check_makes_whole_factors,
    check_recovers_what_was_planted,
    check_permuted_labels_find_nothing,
    check_turns_with_the_rows,
    check_does_not_mind_their_order,
    check_forgets_when_fitted_again,
    check_single_precision_does,
)


def of_scikit_learn(method: Method, **options: Any) -> list[Callable[..., None]]:
    """scikit-learn's own checks of an estimator, each as a promise; none for one whose input is no plain matrix."""
    from sklearn.utils import get_tags
    from sklearn.utils.estimator_checks import estimator_checks_generator

    if not get_tags(method.factory(**options)).input_tags.two_d_array:
        return []
    pairs: Any = estimator_checks_generator(method.factory(**options))
    return [_promise(check, estimator) for estimator, check in pairs]


def _promise(check: Any, estimator: Any) -> Callable[..., None]:
    def promise(method: Method, given: Materials, **options: Any) -> None:
        check(estimator)

    promise.__name__ = f"sklearn_{getattr(check, 'func', check).__name__.removeprefix('check_')}"
    return promise


def _fit(method: Method, given: Materials, options: dict[str, Any], data: Planted) -> Subspace:
    return build(method.name, given, **options).fit(data.rows, data.y, groups=data.groups).factors_[0]


def _along(factor: Subspace, direction: Float[np.ndarray, " d"]) -> float:
    return float(np.linalg.norm(factor.read.double().numpy() @ direction))


def _alike(one: Float[np.ndarray, "k d"], two: torch.Tensor) -> bool:
    """Whether two lists of directions are the same up to signs."""
    other = two.double().numpy()
    return one.shape == other.shape and bool(
        np.allclose(
            np.abs((one * other).sum(1)), np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), rtol=1e-5
        )
    )
