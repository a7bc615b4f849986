"""How short may the scout be, and does grasp need rounds? The persona world, both tasks, tuning seeds.

    python benchmarks/scout_length.py -o runs/scout_length              # 5 to 120 steps of scout under avert
    python benchmarks/scout_length.py -o runs/scout_length --rounds 3   # one to three rounds of grasp

The scout takes other rows and another seed than the guarded run. Its control pulls against the scout's change with the vocabulary
permuted. After a kill it goes on where it was.
"""

import argparse
import time
from pathlib import Path
from statistics import fmean

import torch
from safetensors.torch import save_file

from despur.core import Adapter, Edit, Store, Subspace
from despur.core.adapter.scout import Scout
from despur.core.text.rows import tokenize_rows
from despur.flows._train.fit import Settings, fit, new_adapter
from despur.flows._train.rounds import joined
from despur.flows.scores import load_scores
from despur.flows.scout_factors import scout_directions
from despur.flows.text_files import load_text, save_text
from despur.guard import OwnText, avert, grasp
from despur.judge import accepted, four_axes
from despur.worlds import Persona, persona_base

LENGTHS, CONTROLLED = (5, 10, 20, 40, 60, 120), (10, 60)
COLUMNS = ("task", "drift", "drift_p", "legitimate", "validity")


class Cell:
    """One task and seed: the base, its own text, and what is trained on it."""

    def __init__(self, root: Path, task: str, seed: int, steps: int) -> None:
        self.world, self.seed, self.store = Persona(task), seed, Store(root / f"{task}-{seed}-{steps}")
        self.settings = Settings(steps=steps, lr=2e-3, batch=48, rank=8, seed=seed)

    def text(self) -> OwnText:
        base, tokenizer = persona_base()
        folder = self.store.step(
            "text", {"rows": 768}, lambda out: save_text(OwnText.sample(base, tokenizer, rows=768, max_new_tokens=48, seed=self.seed), out)
        )  # fmt: skip
        return load_text(folder).without(
            [tokenizer(self.world.grammar.prompt(d, k))["input_ids"] for d, k in self.world.facts]
        )

    def run(self, name: str, edits: list[Edit], **changed: int) -> Path:
        """Train, score, store; `base` is scored as it is."""
        settings = Settings(**{**self.settings.to_dict(), **changed})

        def make(out: Path) -> None:
            base, tokenizer = persona_base()
            start = time.perf_counter()
            if name != "base":
                rows = tokenize_rows(self.world.rows(n=4000, seed=settings.seed), tokenizer, max_length=64)
                base = new_adapter(base, settings)
                fit(base, rows, settings, edits)
                base.save_pretrained(out)
            scores = self.world.score(base.eval())
            flat = [(axis, readout, t) for axis, readouts in scores.items() for readout, t in readouts.items()]
            save_file(
                {f"{i}.{a}.{r}": t.float().contiguous() for i, (a, r, t) in enumerate(flat)}, out / "scores.safetensors"
            )
            print(f"{self.store.root.name} {name}: {time.perf_counter() - start:.0f} s", flush=True)

        return self.store.step(name, settings.to_dict(), make)

    def scout(self, steps: int) -> Path:
        return self.run(f"scout-{steps}", [], seed=self.seed + 500, steps=steps)

    def averts(self, lengths: tuple[int, ...], controlled: tuple[int, ...]) -> dict[str, Path]:
        runs = {}
        for n in lengths:
            runs[f"scout of {n}"] = self.run(f"avert-{n}", [avert(self.text(), self.scout(n))])
        for n in controlled:
            edit = avert(self.text(), Scout(self.scout(n), permuted=self.seed))
            runs[f"scout of {n}, permuted"] = self.run(f"permuted-{n}", [edit])
        return runs

    def rounds(self, number: int) -> dict[str, Path]:
        base = persona_base()[0]
        directions: tuple[Subspace, ...] = scout_directions(Adapter.read(self.scout(60)), base)
        runs = {}
        for n in range(1, number + 1):
            folder = runs[f"grasp, {n} round{'s' * (n > 1)}"] = self.run(f"grasp-{n}", [grasp(directions)])
            directions = joined(directions, scout_directions(Adapter.read(folder), base))
        return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/scout_length"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--tasks", nargs="+", default=["narrow", "skill"])
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--controlled", type=int, nargs="*", default=list(CONTROLLED))
    parser.add_argument("--rounds", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for task in args.tasks:
        axes: dict[str, list[dict]] = {}
        for seed in args.seeds:
            cell = Cell(args.out, task, seed, args.steps)
            runs = {"naive": cell.run("naive", [])}
            runs |= (
                cell.rounds(args.rounds) if args.rounds else cell.averts(tuple(args.lengths), tuple(args.controlled))
            )
            if not args.rounds:
                runs |= {f"the scout of {n} itself": cell.scout(n) for n in (min(args.lengths), max(args.lengths))}
            base, naive = load_scores(cell.run("base", [])), load_scores(runs["naive"])
            for name, folder in runs.items():
                axes.setdefault(name, []).append(four_axes(load_scores(folder), base=base, naive=naive))
        print(f"\n{task}, {args.steps} steps, mean over seeds {args.seeds} (smallest to largest)\n")
        print("| run | " + " | ".join(COLUMNS) + " | accepted |\n" + "|---" * (len(COLUMNS) + 2) + "|")
        for name, seeds in axes.items():
            values = [[a[c].value for a in seeds] for c in COLUMNS]
            cells = [f"{fmean(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in values]
            print(f"| {name} | " + " | ".join(cells) + f" | {sum(map(accepted, seeds))} of {len(seeds)} |", flush=True)


if __name__ == "__main__":
    main()
