"""What a study's guards choose, tell and drift, in shares of the plain run: the axis `free` beside the task by which they were compared.

    python benchmarks/free_shares.py benchmarks/study_free

Means over the report seeds, report half, with 95 % intervals over seeds (Student's t): `chosen` is the share of the plain run's task,
`told` that of its whole answers from the question alone, `drift` that of its drift; the base is 0.
"""

import argparse
from pathlib import Path

import numpy as np
from leaning_away import runs_of
from scipy import stats

NAMES = {"task": "chosen", "free": "told", "drift": "drift"}


def shown(values: np.ndarray) -> str:
    """A mean and its interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.2f} [{values.mean() - half:.2f}, {values.mean() + half:.2f}]"


def main() -> None:
    """Print a table a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    for world, runs in runs_of(parser.parse_args().study).groupby("world", sort=False):
        of = {guard: some.set_index("seed")[list(NAMES)] for guard, some in runs.groupby("guard", sort=False)}
        base, naive = of.pop("base"), of.pop("naive")
        print(f"\n| {world} | {' | '.join(NAMES.values())} |\n|{'---|' * 4}")
        for guard, some in of.items():
            shares = ((some - base) / (naive - base)).to_numpy()
            print(f"| `{guard}` | {' | '.join(map(shown, shares.T))} |")


if __name__ == "__main__":
    main()
