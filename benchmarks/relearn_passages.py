"""How fast do unlearned passages come back? After `suv`, DPO alone and gradient ascent, beside a model that never saw them.

    python benchmarks/relearn_passages.py            # one draw: some minutes

A quarter of the passages is trained on again, a new LoRA of rank 8. *Seen* are those, *others* the rest, which come back only where
they were hidden. The model that never saw them is the control: what it learns of the seen ones is learning, and of the others nothing.
"""

import argparse

import torch

from despur.claims.unlearn.suv import STEPS, ascended, put_on, wrapped
from despur.unlearn import recall, suv
from despur.worlds.passages import Passages, Texts, as_rows

AT = (0, 2, 5, 10, 20, 40, 80)
PREFIX, BATCH, RATE = 6, 32, 1e-3


def relearned(model: object, texts: Texts, others: Texts, *, seed: int) -> list[tuple[float, float]]:
    """Share recited greedily of seen and of other passages, after each number of steps."""
    tuned = wrapped(model, seed)
    adam = torch.optim.Adam([p for p in tuned.parameters() if p.requires_grad], lr=RATE, betas=(0.9, 0.98))
    draw = torch.Generator().manual_seed(seed)
    points = []
    for step in range(AT[-1] + 1):
        if step in AT:
            points.append(tuple(recall(tuned, as_rows(part), prefixes=(PREFIX,)).greedy for part in (texts, others)))
        batch = texts[torch.randperm(len(texts), generator=draw)[:BATCH]]
        tuned(input_ids=batch, labels=batch).loss.backward()
        adam.step()
        adam.zero_grad()
    return points


def main() -> None:
    """Print a line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| draw | model | passages |", " | ".join(map(str, AT)), "|")
    for seed in range(args.seeds):
        world = Passages(seed=seed)
        never, knows = world.models()
        forget, retain = as_rows(world.passages), as_rows(world.rest(256, seed=1))
        ours, dpo = (wrapped(knows, seed) for _ in range(2))
        put_on(ours, suv(ours, forget, retain, never, steps=STEPS, seed=seed))
        put_on(dpo, suv(dpo, forget, retain, never, steps=STEPS, seed=seed, projection=0.0, stiffness=0.0))
        ascent = ascended(wrapped(knows, seed), world, steps=STEPS, rate=1e-3, seed=seed)
        some, rest = world.passages[:50], world.passages[50:]
        arms = {"suv": ours, "DPO alone": dpo, "gradient ascent": ascent}
        models = {name: model.merge_and_unload() for name, model in arms.items()} | {"never saw them": never}
        for name, model in models.items():
            points = relearned(model, some, rest, seed=seed)
            for part, shares in zip(("seen", "others"), zip(*points, strict=True), strict=True):
                print(f"| {seed} | {name} | {part} |", " | ".join(f"{x:.2f}" for x in shares), "|", flush=True)


if __name__ == "__main__":
    main()
