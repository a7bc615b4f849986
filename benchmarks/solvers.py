"""How many iterations do the solvers need where a lasso is ill-conditioned, and what do momentum and restart bring?

    python benchmarks/solvers.py            # about half a minute

A lasso of 200 rows and 100 unknowns, three tenths of them not 0, at a hundredth of the strength from which on the answer is
0. Iterations until `error` is 1e-8, at most 20,000; median of five seeds. All solvers must agree on the value, or the script stops.
"""

from collections.abc import Callable

import numpy as np

from despur.solve import L1, LeastSquares, Solution, admm, fista, prox_ncg

CONDITIONS, SEEDS, MOST = (1e1, 1e2, 1e3, 1e4), range(5), 20_000
SOLVERS: dict[str, Callable[..., Solution]] = {
    "none (ISTA)": lambda *problem: fista(*problem, momentum=False, max_iterations=MOST),
    "momentum": lambda *problem: fista(*problem, restart="never", max_iterations=MOST),
    "+ restart by gradient": lambda *problem: fista(*problem, max_iterations=MOST),
    "by value": lambda *problem: fista(*problem, restart="value", max_iterations=MOST),
    "conjugate": lambda *problem: prox_ncg(*problem, max_iterations=MOST),
    "ADMM": lambda *problem: admm(*problem, max_iterations=MOST),
    "rho fixed at 1": lambda *problem: admm(*problem, adapt=False, max_iterations=MOST),
}


def lasso(condition: float, seed: int) -> tuple[LeastSquares, L1, np.ndarray]:
    """Draw one."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, 100)))[0] for n in (200, 100))
    matrix = left * np.logspace(0, -np.log10(condition) / 2, 100) @ right.T
    target = matrix @ (rng.normal(size=100) * (rng.random(100) < 0.3)) + 1e-2 * rng.normal(size=200)
    return LeastSquares(matrix, target), L1(0.01 * float(np.abs(matrix.T @ target).max())), np.zeros(100)


if __name__ == "__main__":
    print("| condition | " + " | ".join(SOLVERS) + " |\n|" + "---|" * (len(SOLVERS) + 1))
    for condition in CONDITIONS:
        runs = [[solve(*lasso(condition, seed)) for solve in SOLVERS.values()] for seed in SEEDS]
        for done in runs:
            values = [run.value for run in done if run.error <= 1e-8]
            if max(values) > min(values) * (1 + 1e-6):
                raise SystemExit(f"condition {condition:g}: the solvers disagree, {values}")
        cells = np.median([[run.iterations for run in done] for done in runs], axis=0)
        print(f"| {condition:g} | " + " | ".join(f"{int(n):,}" for n in cells) + " |", flush=True)
