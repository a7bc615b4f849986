"""Small regressions with a known solver beside them."""

import numpy as np
import pytest

from despur.solve import LeastSquares


@pytest.fixture
def regression():
    """Make a sparse regression: condition number of the Hessian -> loss and the true x."""

    def make(condition=100.0, n=80, d=40, seed=0, columns=()):
        rng = np.random.default_rng(seed)
        left, right = (np.linalg.qr(rng.normal(size=(rows, d)))[0] for rows in (n, d))
        matrix = left * np.logspace(0, -np.log10(condition) / 2, d) @ right.T
        truth = rng.normal(size=(d, *columns)) * (rng.random(d) < 0.3).reshape(-1, *[1] * len(columns))
        target = matrix @ truth + 1e-2 * rng.normal(size=(n, *columns))
        return LeastSquares(matrix, target), truth

    return make
