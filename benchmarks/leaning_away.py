"""How much of a study's areas is leaning away from the base, on the other side of it than the harm?

    python benchmarks/leaning_away.py benchmarks/study

`compare`'s area clips nothing: a drift below 0 counts as more than ideal. Here each guard's area as it is, from the study's
`results.parquet` (report seeds, report half), beside the area with |drift|, by which the base is the ideal from both sides.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from despur.flows._compare.plan import FILE, read_plan
from despur.judge import Prereg, hypervolume

LEAST = 0.005  # difference of a guard's areas, below which it is left out


def runs_of(study: Path) -> pd.DataFrame:
    """One line a run, one column an axis: the mean of its first readout."""
    table = pd.read_parquet(study / "results.parquet")
    table = table[(table["round"] == "report") & (table["half"] == "report")]
    run = ["world", "guard", "setting", "seed"]
    return table.drop_duplicates([*run, "axis"]).pivot(index=run, columns="axis", values="mean").reset_index()


def both_areas(runs: pd.DataFrame, plan: Prereg) -> pd.DataFrame:
    """Guard and world -> the area as it is and with |drift|, means over seeds, and the least drift that an accepted setting has."""
    rows: list[dict[str, object]] = []
    for (world, _), some in runs.groupby(["world", "seed"]):
        base, naive = (some[some["guard"] == name].iloc[0] for name in ("base", "naive"))
        for guard, settings in some.groupby("guard"):
            t, q = ((settings[a] - base[a]) / (naive[a] - base[a]) for a in ("task", "drift"))
            kept = np.ones(len(settings), bool)
            for axis, least in plan.constraints.items():
                kept &= (settings[axis] / base[axis] >= least).to_numpy()
            found = [hypervolume(np.column_stack([t, x]), kept) for x in (q, q.abs())]
            least_drift = float(q[kept].min()) if kept.any() else float("nan")
            rows.append(
                {
                    "world": world,
                    "guard": guard,
                    "as it is": found[0],
                    "with |drift|": found[1],
                    "least drift": least_drift,
                }
            )
    return pd.DataFrame(rows).groupby(["world", "guard"], sort=False).mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    study = parser.parse_args().study
    found = both_areas(runs_of(study), read_plan(study / FILE))
    apart = found[(found["as it is"] - found["with |drift|"]).abs() > LEAST]
    print(apart.round(3).to_string(), "\n\nmean over worlds:\n")
    print(
        found.groupby("guard")[["as it is", "with |drift|"]]
        .mean()
        .sort_values("with |drift|", ascending=False)
        .head(8)
        .round(3)
        .to_string()
    )
