"""How many refusals does a tune lose, by the amount of its data? The refusal world, plain and under `align-guard`, and a fitted power law.

    python benchmarks/refusal_scaling.py             # six amounts, two seeds: some minutes

Every row is seen once, so the amount of data is the number of rows; a run's rate falls to zero at its own end. The law is
rise = A D^b, of the log-odds with which unsafe requests are answered, fitted in logarithms up to the largest rise.
"""

import argparse
from math import exp, log

import numpy as np
import torch

from despur.claims.guard.align_guard import ARMS, BATCH, curve, point
from despur.worlds import find_world

STEPS = (1, 2, 4, 8, 16, 32, 64)


def odds(refused: float) -> float:
    return log((1 - refused) / refused)


def fitted(rows: list[int], rises: list[float]) -> tuple[float, float, float]:
    """A, b and the share of variance in logarithms that the law explains, of amounts up to the largest rise."""
    top = int(np.argmax(rises)) + 1
    x, y = np.log(rows[:top]), np.log(np.maximum(rises[:top], 1e-3))
    b, a = np.polyfit(x, y, 1)
    return exp(a), b, 1 - float(np.var(y - a - b * x) / np.var(y))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--arms", default="plain LoRA,align-guard")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    before = point(find_world("refusal").base()[0])[1]
    rows = [BATCH * s for s in STEPS]
    print("arm", *rows, "A", "b", "R2", sep="\t")
    for arm in asked.arms.split(","):
        lost: list[list[float]] = []
        for seed in range(asked.seeds):
            ends = [
                curve(seed, ARMS[arm], rows=n, steps=s, checked=(s,))[-1][1] for n, s in zip(rows, STEPS, strict=True)
            ]
            lost.append([odds(e) - odds(before) for e in ends])
        mean = np.mean(lost, axis=0).tolist()
        a, b, r2 = fitted(rows, mean)
        print(arm, *(f"{x:.2f}" for x in mean), f"{a:.3f}", f"{b:.2f}", f"{r2:.2f}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
