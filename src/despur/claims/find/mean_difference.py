"""The claim of `mean-difference`."""

import numpy as np

from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.find import MeanDifference
from despur.flows import open_bench

WIDTH = 16


@claim(
    method="mean-difference",
    says="one direction tells texts with the trait from texts without it, on texts that it was not fitted on",
    control="the same texts with their labels permuted",
    margin=0.2,
)
def mean_difference(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Share of rows on their own side of the middle: of planted Gaussians, or of the persona base's stream."""
    rng = np.random.default_rng(seed)
    if whole:
        bench = open_bench("persona", seed=seed)
        stream, labels = bench.materials.get("stream"), bench.materials.get("labels").numpy().astype(int)
        rows = stream[bench.materials.sites[-2]].double().numpy()
    else:
        labels = rng.integers(2, size=400)
        rows = rng.normal(size=(400, WIDTH)) + 3 * labels[:, None] * np.eye(WIDTH)[0]
    fitted = rng.permutation(len(rows)) < len(rows) // 2
    right = _right(rows, labels, labels, fitted)
    low, high = right.mean() + np.array([-1.96, 1.96]) * right.std() / len(right) ** 0.5
    control = _right(rows, rng.permutation(labels), labels, fitted)
    return (
        compared("rows on their own side", right.mean(), control=control.mean(), low=low, high=high, n=len(right),
                 bound=0.8),
    )  # fmt: skip


def _right(rows: np.ndarray, labels: np.ndarray, truth: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Whether each row that was not fitted lies on the side of its true class."""
    read = MeanDifference().fit(rows[fitted], labels[fitted]).factors_[0].read[0].numpy()
    along = rows @ read
    middle = np.mean([along[fitted & (labels == c)].mean() for c in (0, 1)])
    return ((along > middle) == (truth == 1))[~fitted]
