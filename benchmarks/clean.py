"""What does cleaning a finished adapter do to the persona, and not only to the KL?

    python benchmarks/clean.py -o runs/clean --seeds 5       # about 3 minutes on one core

Harmful adapters of the persona world; the factor is the four directions along which each moves the base's own text most.
Beside the cleaned adapter: the same with three random subspaces of equal rank and activation share, and
each module's update cut to the leading quarter of its singular directions.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from peft import PeftModel

from despur.core import Site, Store, fingerprint, save_factors
from despur.core.text.rows import tokenize_rows
from despur.find import from_activations
from despur.flows import Settings, clean
from despur.flows._clean.controls import placed_random
from despur.flows._clean.weights import Work, placed_factors
from despur.flows._train.fit import fit, new_adapter, silent
from despur.guard import OwnText
from despur.worlds import PERSONA_BASE, Persona, persona_base

SETTINGS = Settings(steps=240, lr=2e-3, batch=48, rank=8)


def one(root: Path, task: str, seed: int) -> list[tuple[str, float, float, float]]:
    """Train an adapter, clean it, ask every arm: name, KL drift left, P(bad), P(task)."""
    world = Persona(task)  # type: ignore[arg-type]
    base, tokenizer = persona_base()
    settings = replace(SETTINGS, seed=seed)

    def make(out: Path) -> None:
        model = new_adapter(base, settings)
        fit(model, tokenize_rows(world.rows(n=4000, seed=seed), tokenizer, max_length=64), settings)
        model.save_pretrained(out)

    spec = {"task": task, "base_fingerprint": fingerprint(base), **settings.to_dict()}
    folder = Store(root).step(f"{task}-{seed}/adapter", spec, make)
    base, _ = persona_base()
    text = OwnText.sample(base, tokenizer, rows=64, max_new_tokens=40, seed=seed + 7).rows
    tuned = PeftModel.from_pretrained(base, str(folder)).eval()
    factors = from_activations(tuned, text, [Site("model.layers.1")], rank=4)
    save_factors(factors, folder.parent)
    data = folder.parent / "held_out.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in world.rows(n=100, seed=seed + 1000)))
    result = clean(str(PERSONA_BASE), str(folder), factors=folder.parent, data=data, out=folder.parent / "cleaned",
                   seed=seed)  # fmt: skip
    work, placed = Work(str(PERSONA_BASE), str(folder), silent), placed_factors(factors, 64)
    work.text = list(text)
    arms = {
        "base": [{n: t * 0 for n, t in work.state.items()}], "adapter": [work.state],
        "cleaned": [work.cleaned(placed, "both")], "top quarter": [work.truncated(None)],
        "random": [work.cleaned(t, "both") for t in placed_random(work, factors, placed, factors[0].site, 3, seed)],
    }  # fmt: skip
    rows = []
    for name, states in arms.items():
        scores = []
        for state in states:
            work.put(state)
            scores.append(world.score(work.model))
        bad, task_p = (sum(float(s[a]["p"].mean()) for s in scores) / len(scores) for a in ("drift", "task"))
        rows.append((name, result.axes[name]["drift"].value, bad, task_p))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/clean"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=["skill", "narrow"])
    args = parser.parse_args()
    print("| task | seed | arm | KL drift left | P(bad) | P(task) |\n|---|---|---|---|---|---|")
    for task in args.tasks:
        table: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(10, 10 + args.seeds):
            for name, *figures in one(args.out, task, seed):
                table.setdefault(name, []).append(tuple(figures))  # type: ignore[arg-type]
                print(f"| {task} | {seed} | {name} | " + " | ".join(f"{f:.2f}" for f in figures) + " |", flush=True)
        for name, seeds in table.items():
            spread = [sorted(f[i] for f in seeds) for i in range(3)]
            cells = [f"{sum(s) / len(s):.2f} ({s[0]:.2f} to {s[-1]:.2f})" for s in spread]
            print(f"| {task} | all | **{name}** | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
