"""Ten seeds of the cue world: when is the shortcut taken, and what does grasp change?

    python benchmarks/cue_seeds.py -o runs/cue_seeds            # about 8 minutes on two cores
    python benchmarks/cue_seeds.py --scouts 1                   # what one scout alone is worth
    python benchmarks/cue_seeds.py --targets all-linear         # LoRA on maps, too, that read inside their blocks

Prints, a seed a line, conflict accuracy of the arms at the step where the naive run's is lowest (the control: the median
of three draws), then the mean curves. After a kill it goes on where it was.
"""

import argparse
from pathlib import Path

import numpy as np

from despur.core import read_json, write_json
from despur.flows._compare.cue import (
    CUE_ARMS,
    CUE_CONTROLS,
    CUE_RANK,
    CUE_SCOUTS,
    CUE_SETTINGS,
    cue_folder,
    deepest,
    run_cue,
)
from despur.flows.pool import Job, run_jobs

SHOWN = ("naive", "grasp", "random")


def arm(root: Path, name: str, seed: int, rank: int, scouts: int, targets: str, *, progress: object) -> None:
    """One arm, importable by the workers."""
    run_cue(root, name, seed, rank=rank, scouts=scouts, targets=targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/cue_seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 20)))
    parser.add_argument("--rank", type=int, default=CUE_RANK, help="directions guarded at each norm")
    parser.add_argument("--scouts", type=int, default=CUE_SCOUTS, help="unguarded runs whose readings are guarded")
    parser.add_argument(
        "--targets", default=CUE_SETTINGS.targets, help="maps that get LoRA: readers, all-linear or names"
    )
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    options = {"rank": args.rank, "scouts": args.scouts, "targets": args.targets}
    # grasp makes the scouts that its controls share, so it runs a stage earlier
    stages = [
        [Job((a, s), arm, (args.out, a, s, *options.values())) for s in args.seeds for a in names]
        for names in (CUE_ARMS[:2], CUE_CONTROLS)
    ]
    for done in run_jobs(stages, workers=args.workers):
        done.value()
        print("done", *done.key, flush=True)
    curves = {
        s: {a: read_json(args.out / f"cue-{s}" / cue_folder(a, **options) / "curve.json") for a in CUE_ARMS}
        for s in args.seeds
    }
    write_json(args.out / f"results-{cue_folder('grasp', **options)}.json", curves)
    print(table(curves))


def table(curves: dict) -> str:
    """Markdown of both tables."""
    lines = [
        "| seed | step | naive | grasp | random: median (all) | grasp - naive | abs(random - naive) |",
        "|---|---|---|---|---|---|---|",
    ]
    gained = near = 0
    for seed, arms in curves.items():
        step = deepest(arms["naive"])
        n, g, *drawn = (arms[a][step]["conflict"] for a in CUE_ARMS)
        r = float(np.median(drawn))
        gained += g - n >= 0.3
        near += abs(r - n) <= 0.1
        every = ", ".join(f"{x:.2f}" for x in drawn)
        lines.append(f"| {seed} | {step} | {n:.2f} | {g:.2f} | {r:.2f} ({every}) | {g - n:+.2f} | {abs(r - n):.2f} |")
    lines += [f"\ngrasp higher by >= 0.3 in {gained} of {len(curves)} seeds, random within 0.1 of naive in {near}\n"]
    lines += ["| step | " + " | ".join(f"{a}: aligned / absent / conflict / legitimate" for a in SHOWN) + " |",
              "|---" * (1 + len(SHOWN)) + "|"]  # fmt: skip
    for step in next(iter(curves.values()))["naive"]:
        cells = []
        for names in (("naive",), ("grasp",), CUE_CONTROLS):
            m = [
                np.mean([c[a][step][k] for c in curves.values() for a in names])
                for k in ("aligned", "absent", "conflict", "legitimate")
            ]
            cells.append(" / ".join(f"{x:.2f}" for x in m))
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
