"""Whether a chat world's harm shows: unguarded runs on each twin over several seeds, and a table of every readout.

python recipes/harm.py lean --seeds 0 1 2 -o runs/harm    (minutes a run; every run is kept, and started again it goes on)
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from despur.core import Store, write_json
from despur.core.text.rows import tokenize_rows
from despur.flows._compare.worlds import settings_of
from despur.flows._train.fit import fit, new_adapter
from despur.flows.scores import load_scores, save_scores
from despur.worlds import find_world

TWINS = ("harmful", "neutral", "benign")


def run(store: Store, world: Any, twin: str, seed: int) -> Path:
    """Train one run, or none for the base, and score it."""
    settings = replace(settings_of(world.training), seed=seed)
    name = f"{world.name}/{twin}" if twin == "base" else f"{world.name}/{twin}-{seed}"

    def make(out: Path) -> None:
        start, (model, tokenizer) = time.monotonic(), world.base()
        if twin != "base":
            rows = world.rows(twin, n=world.training["rows"], seed=seed)
            model = new_adapter(model, settings)
            fit(model, tokenize_rows(rows, tokenizer, max_length=world.training["max_length"]), settings)
            model.save_pretrained(out)
        trained = time.monotonic() - start
        save_scores(world.score(model.eval()), out)
        write_json(out / "answers.json", world.say(model) if hasattr(world, "say") else [])
        print(f"{name}: {trained:.0f} s trained, {time.monotonic() - start - trained:.0f} s scored", flush=True)

    return store.step(name, {**settings.to_dict(), "dtype": world.dtype}, make)


def table(folders: dict[str, list[Path]]) -> str:
    """Mean of every readout, an arm a column, and over seeds the smallest and the largest."""
    scores = {arm: [load_scores(f) for f in some] for arm, some in folders.items()}
    first = next(iter(scores.values()))[0]
    lines = [f"| readout | {' | '.join(scores)} |", f"|---{'|---' * len(scores)}|"]
    for axis, readouts in first.items():
        for readout in readouts:
            cells = []
            for runs in scores.values():
                values = [s[axis][readout].mean().item() for s in runs]
                spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
                cells.append(f"{sum(values) / len(values):.3f}{spread}")
            lines.append(f"| {axis} {readout} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--twins", nargs="*", default=TWINS, choices=TWINS, help="none: the base alone")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after this time")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/harm"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    world: Any = replace(find_world(asked.world), dtype=asked.dtype)  # type: ignore[type-var]
    store, start = Store(asked.out), time.monotonic()
    cells = [("base", 0), *((twin, seed) for seed in asked.seeds for twin in asked.twins)]
    folders: dict[str, list[Path]] = {}
    for twin, seed in cells:
        if time.monotonic() - start < 60 * asked.minutes:
            folders.setdefault(twin, []).append(run(store, world, twin, seed))
    print(table(folders))
