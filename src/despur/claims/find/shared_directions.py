"""The claim of `shared-directions`."""

import numpy as np

from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.find import SharedDirections
from despur.judge import rate_interval

MODULES, RANK, WIDTH = 8, 3, 24


@claim(
    method="shared-directions",
    says="a direction that all modules write is found at a false-positive rate of one in twenty, however loud single modules are",
    control="the same modules without the shared direction, one of them a thousand times as loud",
    margin=0.5,
)
def shared_directions(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """How often a direction beats the null, with it planted and without."""
    draws = 60 if whole else 4
    rates = [sum(_found(seed * 1000 + i, planted) for i in range(draws)) for planted in (True, False)]
    value, low, high = rate_interval(rates[0], draws)
    return (
        compared("draws in which a direction is found", value, control=rates[1] / draws, low=low, high=high, n=draws,
                 bound=0.9 if whole else 0.7),
    )  # fmt: skip


def _found(seed: int, planted: bool) -> bool:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(MODULES, RANK, WIDTH)) * np.array([1.0, 0.6, 0.3])[:, None]
    if planted:
        rows[:, 0] += 6 * np.eye(WIDTH)[3] * rng.choice([-1, 1], size=(MODULES, 1))
    rows[0] *= 1000
    finder = SharedDirections(rank=1, nulls=40, seed=seed)
    return finder.fit(rows.reshape(-1, WIDTH), groups=np.repeat(np.arange(MODULES), RANK)).found_ > 0
