"""The claim of `from-estimator`."""

import numpy as np
import torch

from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.find import from_estimator as method

ROWS, WIDTH = 300, 8


@claim(
    method="from-estimator",
    says="what a fitted probe decides is what its factor reads: taken out of new rows, a probe on them falls to chance",
    control="a random direction of the same rank taken out",
    margin=0.2,
)
def from_estimator(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the estimator's own reading; with `whole` what a new probe reads after the factor is taken out."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    if not whole:
        rows, _ = _rows(seed)
        pca = PCA(3, random_state=seed).fit(rows)
        own = pca.transform(rows)
        factor = method(pca)
        read = factor.encode(torch.from_numpy(rows).float()).numpy()
        others = rows @ np.linalg.qr(np.random.default_rng(seed).normal(size=(WIDTH, 3)))[0]
        errors = [float(np.abs(x - own).mean()) for x in (read, others)]
        return (compared("distance from the estimator's own coordinates", errors[0], control=errors[1], n=ROWS, bound=1e-4,
                         margin=0.1, higher_is_better=False),)  # fmt: skip
    new, truth = _rows(seed + 1, n=4000)
    read = method(LogisticRegression(C=1e6, max_iter=5000).fit(*_rows(seed, n=4000))).read.double().numpy()
    other = np.linalg.qr(np.random.default_rng(seed).normal(size=(WIDTH, 1)))[0].T
    left = [_accuracy(new - new @ d.T @ np.linalg.pinv(d.T), truth) for d in (read, other)]
    half = 1.96 * (0.25 / 2000) ** 0.5
    return (compared("accuracy of a new probe", left[0], control=left[1], low=left[0] - half, high=left[0] + half, n=2000,
                     bound=0.6, higher_is_better=False),)  # fmt: skip


def _rows(seed: int, n: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian rows of unit noise in all directions, two classes apart along one."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    return rng.normal(size=(n, WIDTH)) + 3 * labels[:, None] * np.ones(WIDTH) / WIDTH**0.5, labels


def _accuracy(rows: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression

    half = len(rows) // 2
    return float(LogisticRegression(max_iter=5000).fit(rows[:half], labels[:half]).score(rows[half:], labels[half:]))
