"""Ten seeds of the cue world: when is the shortcut taken, and what does grasp change?

    python benchmarks/cue_seeds.py -o runs/cue_seeds            # about 15 minutes on two cores

Prints, a seed a line, conflict accuracy of the three arms at the step where the naive run's is lowest, then the mean
curves. Killed and started again it goes on where it was.
"""

import argparse
from pathlib import Path

import numpy as np

from despur.core import read_json, write_json
from despur.flows._cue import CUE_ARMS, CUE_RANK, run_cue
from despur.flows._pool import run_jobs


def arm(root: Path, name: str, seed: int, rank: int, *, progress: object) -> None:
    """One arm, importable by the workers."""
    run_cue(root, name, seed, rank=rank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/cue_seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 20)))
    parser.add_argument("--rank", type=int, default=CUE_RANK, help="directions held at each norm")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    # grasp makes the scout that its control shares, so it runs a stage earlier
    stages = [
        [(arm, (args.out, a, s, args.rank)) for s in args.seeds for a in names]
        for names in (CUE_ARMS[:2], CUE_ARMS[2:])
    ]
    for (_, *what), _ in run_jobs(stages, workers=args.workers):
        print("done", *what, flush=True)
    folders = {a: a if a == "naive" else f"{a}-{args.rank}" for a in CUE_ARMS}
    curves = {
        s: {a: read_json(args.out / f"cue-{s}" / f / "curve.json") for a, f in folders.items()} for s in args.seeds
    }
    write_json(args.out / "results.json", curves)
    print(table(curves))


def table(curves: dict) -> str:
    """Markdown of both tables."""
    lines = [
        "| seed | step | naive | grasp | random | grasp - naive | abs(random - naive) |",
        "|---|---|---|---|---|---|---|",
    ]
    gained = near = 0
    for seed, arms in curves.items():
        # a step before anything is learned is no shortcut: the facts must have been met with the cue aligned
        steps = [s for s in arms["naive"] if arms["naive"][s]["aligned"] > 0.9] or list(arms["naive"])
        step = min(steps, key=lambda s: arms["naive"][s]["conflict"])
        n, g, r = (arms[a][step]["conflict"] for a in CUE_ARMS)
        gained += g - n >= 0.3
        near += abs(r - n) <= 0.1
        lines.append(f"| {seed} | {step} | {n:.2f} | {g:.2f} | {r:.2f} | {g - n:+.2f} | {abs(r - n):.2f} |")
    lines += [f"\ngrasp higher by >= 0.3 in {gained} of {len(curves)} seeds, random within 0.1 of naive in {near}\n"]
    lines += ["| step | " + " | ".join(f"{a}: aligned / absent / conflict / legitimate" for a in CUE_ARMS) + " |",
              "|---" * (1 + len(CUE_ARMS)) + "|"]  # fmt: skip
    for step in next(iter(curves.values()))["naive"]:
        cells = []
        for a in CUE_ARMS:
            m = [
                np.mean([c[a][step][k] for c in curves.values()])
                for k in ("aligned", "absent", "conflict", "legitimate")
            ]
            cells.append(" / ".join(f"{x:.2f}" for x in m))
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
