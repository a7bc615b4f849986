"""The claim of `mean-difference`."""

import numpy as np

from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.capture import capture
from despur.find import MeanDifference
from despur.flows import open_bench
from despur.worlds import find_world

WIDTH = 16


@claim(
    method="mean-difference",
    says="one direction tells texts with the trait from texts without it, on texts that it was not fitted on",
    control="the same texts with their labels permuted",
    margin=0.2,
)
def mean_difference(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Share of texts on their own side of the middle: rows of planted Gaussians, or means of the persona base's stream."""
    rng = np.random.default_rng(seed)
    if whole:
        bench = open_bench("persona", seed=seed)
        with_it, without = find_world("persona").paired(n=200, seed=seed)
        labels, site = np.repeat([1, 0], [len(with_it), len(without)]), bench.materials.sites[-2]
        stream, owner = capture(bench.base, bench.encode([*with_it, *without]), [site])
        rows = np.stack([stream[site][owner == i].double().mean(0).numpy() for i in range(len(labels))])
    else:
        labels = rng.integers(2, size=400)
        rows = rng.normal(size=(400, WIDTH)) + 3 * labels[:, None] * np.eye(WIDTH)[0]
    fitted = rng.permutation(len(rows)) < len(rows) // 2
    right = _right(rows, labels, labels, fitted)
    low, high = right.mean() + np.array([-1.96, 1.96]) * right.std() / len(right) ** 0.5
    control = _right(rows, rng.permutation(labels), labels, fitted)
    return (
        compared("texts on their own side", right.mean(), control=control.mean(), low=low, high=high, n=len(right),
                 bound=0.8),
    )  # fmt: skip


def _right(rows: np.ndarray, labels: np.ndarray, truth: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Whether each row that was not fitted lies on the side of its true class."""
    read = MeanDifference().fit(rows[fitted], labels[fitted]).factors_[0].read[0].numpy()
    along = rows @ read
    middle = np.mean([along[fitted & (labels == c)].mean() for c in (0, 1)])
    return ((along > middle) == (truth == 1))[~fitted]
