"""Does the null keep its level? Modules that share nothing: how many pass, by drawn and by computed thresholds, and power.

python benchmarks/null_level.py
"""

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from despur.find._leading import leading
from despur.find._null import edge, tracy_widom, turned_top
from despur.judge import rate_interval

LEVEL, POOL = 0.05, 4000
SHAPES = ((8, 4, 64), (3, 8, 256), (24, 8, 256), (64, 4, 256))  # modules, rank, width
ENERGIES: dict[str, Callable[[int, int], np.ndarray]] = {
    "flat": lambda m, r: np.ones((m, r)),
    "halving": lambda m, r: 0.5 ** np.arange(r) * np.ones((m, 1)),
    "flat, one of rank 1": lambda m, r: np.concatenate([np.eye(1, r), np.ones((m - 1, r))]),
    "from steep to flat": lambda m, r: np.linspace(0.2, 0.95, m)[:, None] ** np.arange(r),
}


def agreement(energies: np.ndarray, d: int, planted: float, rng: np.random.Generator) -> float:
    """Largest agreement of modules with these energies; `planted` of each leading direction's lies along e_0."""
    parts = []
    for row in energies:
        frame = rng.standard_normal((d, len(row)))
        if planted:
            frame[0, 0] = 0
            frame[:, 0] *= np.sqrt(1 - planted) / np.linalg.norm(frame[:, 0])
            frame[0, 0] = np.sqrt(planted)
        parts.append(np.sqrt(row)[:, None] * np.linalg.qr(frame)[0].T)
    return float(leading(torch.from_numpy(np.concatenate(parts).astype(np.float32)), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--power-draws", type=int, default=300)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"Share of draws that pass at a level of {LEVEL}, with 95 % Wilson intervals. Rotations: a pool of {POOL} and its"
    )
    print("quantile, or 99 or 19 of it for each draw; computed: no draws at all.\n")
    print("| modules, r, d | energies | planted | draws | pool | 99 rotations | 19 rotations | computed |")
    print("|---|---|---|---|---|---|---|---|")
    for m, r, d in SHAPES:
        for name, made in ENERGIES.items():
            energies = made(m, r)
            energies /= energies.sum(1, keepdims=True) * m
            spectra = [torch.from_numpy(row[row > 0]) for row in energies]
            torch_rng = torch.Generator().manual_seed(1)
            pool = np.array([turned_top(spectra, d, torch_rng, torch.float32) for _ in range(POOL)])
            middle, scale = edge(spectra, d)
            computed = middle + scale * tracy_widom().isf(LEVEL)
            drawn = np.quantile(pool, 1 - LEVEL)
            for planted in (0.0, 0.03, 0.06, 0.1, 0.15, 0.2):
                draws = given.power_draws if planted else given.draws
                rng = np.random.default_rng(2)
                seen = np.array([agreement(energies, d, planted, rng) for _ in range(draws)])
                few = {n: np.array([np.quantile(rng.choice(pool, n, False), 1 - LEVEL, method="higher") for _ in seen])
                       for n in (99, 19)}  # fmt: skip
                cells = []
                for threshold in (drawn, few[99], few[19], computed):
                    value, low, high = rate_interval(int((seen > threshold).sum()), draws)
                    cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]")
                print(f"| {m}, {r}, {d} | {name} | {planted} | {draws} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
