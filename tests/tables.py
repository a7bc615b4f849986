"""Tables that tests fit: one hidden coordinate behind six columns, wide and a line a cell."""

import numpy as np
import pandas as pd

N, D = 40, 6


def wide(seed: int = 0, missing: float = 0.1) -> pd.DataFrame:
    """Forty runs by six prompts, one hidden coordinate behind them, a tenth of the cells empty."""
    rng = np.random.default_rng(seed)
    loadings = np.array([2.0, -1.5, 1.0, 1.0, -1.0, 0.5])
    cells = 1 + rng.normal(size=(N, 1)) * loadings + 0.3 * rng.normal(size=(N, D))
    cells[rng.random(cells.shape) < missing] = np.nan
    table = pd.DataFrame(cells, columns=[f"p{j}" for j in range(D)])
    return table.assign(run=[f"run {i}" for i in range(N)], seed=np.arange(N) % 8)


def long(table: pd.DataFrame) -> pd.DataFrame:
    """The same, a line a cell, as despur's own traces have it; another axis among them."""
    drift = table.melt(["run", "seed"], var_name="prompt", value_name="value").dropna().assign(axis="drift")
    return pd.concat([drift, drift.assign(axis="task", value=0.0)]).sample(frac=1.0, random_state=0)
