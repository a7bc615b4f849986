"""When can a factor be read off an update? The boundary in the linear world, measured and predicted.

    python benchmarks/linear_boundary.py -o runs/linear_boundary       # a minute

The task has m coordinates of equal strength; the factor, at right angles to all, goes along with the first at a correlation. The update is
the first gradient step on n drawn rows. Shown is the share of the factor in the update's leading right singular vector, the mean of
draws, beside `Linear.found_in_first_step`: without noise rho² / (1 + rho²), rho the correlation, and nothing at all where
m > n theta², theta = sqrt(1 + rho²) - 1.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from despur.report import Heat, write_page
from despur.worlds import Linear

COORDINATES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CORRELATIONS = tuple(round(0.1 * i, 1) for i in range(1, 11))
ROWS = (300, 3000)


def grid(n: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Measured and predicted shares, correlations x coordinates."""
    measured, predicted = np.empty((2, len(CORRELATIONS), len(COORDINATES)))
    for j, m in enumerate(COORDINATES):
        flat = Linear(spectrum=(1.0,) * m, width=m + 4)
        for i, rho in enumerate(CORRELATIONS):
            world = replace(flat, correlation=rho)
            measured[i, j] = np.mean([world.found(world.first_step(n, seed=k)) for k in range(draws)])
            predicted[i, j] = world.found_in_first_step(n)
    return measured, predicted


def main() -> None:
    """Measure the grids, print how far they are from the prediction, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/linear_boundary"))
    parser.add_argument("--draws", type=int, default=20)
    given = parser.parse_args()
    names = [f"m {m}" for m in COORDINATES], [f"{rho:g}" for rho in CORRELATIONS[::-1]]
    blocks: list[Heat] = []
    for n in ROWS:
        measured, predicted = grid(n, given.draws)
        off = np.abs(measured - predicted)
        print(f"{n} rows: off by {off.mean():.3f} on average, {off.max():.3f} at most")
        for what, values in (("measured", measured), ("predicted", predicted)):
            shown = [[float(v) for v in line] for line in values[::-1]]
            note = "Share of the factor in the update's leading direction; up: correlation with the task, across: m."
            blocks.append(Heat(f"{n} rows: {what}", names[1], names[0], shown, note, deepest=0.5))
    given.out.mkdir(parents=True, exist_ok=True)
    facts = {"draws": str(given.draws)}
    page, title = given.out / "report.html", "When can a factor be read off an update?"
    write_page(page, title=title, subtitle="The linear world", blocks=blocks, facts=facts)
    print(f"Report: {page}")


if __name__ == "__main__":
    main()
