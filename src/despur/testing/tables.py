"""What an estimator of tables promises beyond scikit-learn's contract: it can be written and read, and NaN means unobserved."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.errors import BadInput
from despur.core.fitted import load_fitted, save_fitted
from despur.core.materials import Materials
from despur.testing.require import require

ROWS, COLUMNS, HIDDEN = 120, 8, 0.15
BETTER, NO_BETTER = 0.8, 0.95  # of the error that the columns' means make, for a planted table and a permuted one
NUMBERS = ("transform", "predict", "score_samples", "predict_proba")  # what a fitted estimator may say of rows


def planted(seed: int = 0) -> Float[np.ndarray, "n d"]:
    """Plant a table of rank 1: one hidden coordinate, eight columns, noise of a third of its size.

    Args:
        seed: Of all draws.
    """
    rng = np.random.default_rng(seed)
    loadings = rng.choice([-1.0, 1.0], COLUMNS) * rng.uniform(0.7, 1.3, COLUMNS)
    return 2 + rng.normal(size=(ROWS, 1)) * loadings + 0.33 * rng.normal(size=(ROWS, COLUMNS))


def check_leaves_its_table_alone(method: Method, given: Materials, **options: Any) -> None:
    """The table and the global draws stay as they are; `fit` gives the estimator back."""
    table, drawn = planted(), np.random.get_state()[1]  # type: ignore[index]
    before = table.copy()
    estimator = build(method.name, given, **options)
    require(estimator.fit(table) is estimator, "fit does not give the estimator back")
    require(np.array_equal(table, before), "it mutates its table")
    require(np.array_equal(drawn, np.random.get_state()[1]), "it draws from the global generator")  # type: ignore[index]


def check_forgets_when_fitted_again(method: Method, given: Materials, **options: Any) -> None:
    """An estimator that was fitted before is, fitted again, the same as a new one, bit for bit."""
    used = build(method.name, given, **options).fit(planted(1)).fit(planted())
    require(_same(used, build(method.name, given, **options).fit(planted())), "it keeps something of an earlier fit")


def check_is_written_and_read(method: Method, given: Materials, **options: Any) -> None:
    """Written as JSON and safetensors and read again, it has the same options and says the same of rows, bit for bit."""
    fitted = build(method.name, given, **options).fit(planted())
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_fitted(fitted, method.name, Path(folder))
        except BadInput as fault:
            raise AssertionError(f"what it has learned cannot be written: {fault}") from fault
        read, _ = load_fitted(folder)
    require(read.get_params() == fitted.get_params(), "read from its folder it has other options")
    try:
        alike = _same(fitted, read)
    except AttributeError as fault:
        raise AssertionError(f"read from its folder it lacks something that it had learned: {fault}") from fault
    require(alike, "read from its folder it says something else of rows")


def check_nan_means_unobserved(method: Method, given: Materials, **options: Any) -> None:
    """Where it completes: seen cells stay, hidden ones of a planted table are predicted, and of a permuted table not."""
    estimator = build(method.name, given, **options)
    if not hasattr(estimator, "complete"):
        return
    rng = np.random.default_rng(5)
    table = planted()
    permuted = np.stack([rng.permutation(column) for column in table.T], axis=1)
    hide = rng.random(table.shape) < HIDDEN
    hide[hide.all(1), 0] = False
    shares = [_missed(estimator, whole, hide) for whole in (table, permuted)]
    require(
        shares[0] < BETTER,
        f"of hidden cells it misses {shares[0]:.2f} of what their columns' means miss; {BETTER} is asked",
    )
    require(
        shares[1] > NO_BETTER, f"of a permuted table it predicts hidden cells: {shares[1]:.2f} of what the means miss"
    )


SUITE = (
    check_leaves_its_table_alone,
    check_forgets_when_fitted_again,
    check_is_written_and_read,
    check_nan_means_unobserved,
)


def _missed(estimator: Any, table: Float[np.ndarray, "n d"], hide: Any) -> float:
    holes = np.where(hide, np.nan, table)
    whole = np.asarray(estimator.fit(holes).complete(holes))
    require(whole.shape == table.shape and np.isfinite(whole).all(), "what it completes is not whole")
    require(np.array_equal(whole[~hide], table[~hide]), "it changes cells that were seen")
    means = np.broadcast_to(np.nanmean(holes, axis=0), table.shape)
    return float(np.sqrt(((whole - table)[hide] ** 2).sum() / ((means - table)[hide] ** 2).sum()))


def _same(one: Any, two: Any) -> bool:
    """Whether two fitted estimators say the same of the planted rows, by whatever they can say."""
    able = [name for name in NUMBERS if hasattr(one, name)]
    said = all(np.array_equal(getattr(one, name)(planted()), getattr(two, name)(planted())) for name in able)
    learned = {n: v for n, v in vars(one).items() if n.endswith("_") and isinstance(v, np.ndarray)}
    return said and all(np.array_equal(value, getattr(two, name)) for name, value in learned.items())
