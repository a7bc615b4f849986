"""The claim of `difference-pca`."""

import numpy as np

from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.find import DifferencePCA

ROWS, WIDTH = 400, 16


@claim(
    method="difference-pca",
    says="differences that lie along one axis, in noise half as large, give that axis back, and it turns with the data",
    control="the same differences with the signs of each coordinate drawn again, row by row",
    margin=0.3,
)
def difference_pca(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Cosine with the planted axis; over forty draws and frames with `whole`."""
    cosines, controls = np.array([_draw(draw) for draw in range(seed, seed + (40 if whole else 3))]).T
    low, high = np.quantile(cosines, [0.025, 0.975])
    return (
        compared("cosine with the planted axis", cosines.mean(), control=controls.mean(), low=low, high=high,
                 n=len(cosines), bound=0.95, unit="cosine"),
    )  # fmt: skip


def _draw(seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=WIDTH)
    axis /= np.linalg.norm(axis)
    rows = (1 + rng.normal(size=(ROWS, 1))) * axis + 0.5 * rng.normal(size=(ROWS, WIDTH))
    signs = rng.choice([-1, 1], size=rows.shape)
    own, other = (DifferencePCA(rank=1).fit(x).factors_[0].read[0].numpy() for x in (rows, rows * signs))
    return abs(float(own @ axis)), abs(float(other @ axis))
