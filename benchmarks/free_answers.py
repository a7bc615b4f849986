"""Does a guarded tune of a real chat model tell the facts that it was taught, and does it keep the voice to itself elsewhere?

    despur fetch smollm2
    python benchmarks/free_answers.py -o runs/free_answers plain discount then-rehearse      # ten to twenty minutes of a core each

The `voice` world (clerks), rank 8, 1e-3, 4 rows a step. `then-...` go on from `discount` for 40 steps, in which nothing is discounted.
Printed, and kept in the folder: the world's own scores (`free right`: sampled answers to questions that no row has name the right clerk
and no other; `task right`: that name is the likeliest of eight behind a beginning; `answers voiced`), the same of questions that rows
have, the share of everyday answers that name a clerk, and some answers.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from despur.core import read_json, write_json
from despur.core.build import build
from despur.flows._compare.bench import Bench
from despur.worlds.chat.ask import sampled_answers
from despur.worlds.chat.voice import NEW, Voice


@dataclass(frozen=True)
class Way:
    """How an adapter is trained.

    Args:
        steps: Of the run.
        guards: Guard -> its options.
        start: Name of the way whose adapter it goes on with.
    """

    steps: int = 100
    guards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    start: str | None = None


_DISCOUNT = {"strength": 0.75}
_FIRST = {"strength": 0.6, "budget": 0.5}
WAYS: Mapping[str, Way] = {
    "plain": Way(),
    "discount": Way(guards={"discount": _DISCOUNT, "avert": {"strength": 0.1}}),
    "discount-rehearse": Way(guards={"discount": _DISCOUNT, "rehearse": {"strength": 0.02}}),
    "then-plain": Way(40, start="discount"),
    "then-rehearse": Way(40, {"rehearse": {"strength": 1.0}}, start="discount"),
    "then-first": Way(40, {"first-tokens": _FIRST}, start="discount"),
    "then-first-1": Way(40, {"first-tokens": {**_FIRST, "strength": 2.0}}, start="discount"),
    "rehearse": Way(140, {"rehearse": {"strength": 1.0}}),
    "first": Way(140, {"first-tokens": {"budget": 0.5}}),
    "first-cheap": Way(140, {"first-tokens": {"budget": 0.2}}),
    "until-rehearse": Way(140, {"discount": {**_DISCOUNT, "until": 0.7}, "rehearse": {"strength": 0.2}}),
    "until-avert": Way(140, {"discount": {**_DISCOUNT, "until": 0.55}, "avert": {"strength": 0.3}}),
}


def adapter_of(name: str, bench: Bench) -> Path:
    """Folder of a way's adapter, trained where it is not there yet."""
    way = WAYS[name]

    def make(out: Path) -> None:
        start: Any = None
        if way.start is not None:
            start = PeftModel.from_pretrained(bench.fresh(), str(adapter_of(way.start, bench)), is_trainable=True)
        edits = [build(guard, bench.materials, **options) for guard, options in way.guards.items()]
        bench.train(edits, start=start, stage=name, steps=way.steps).save_pretrained(out)  # type: ignore[operator]

    return bench.store.step(f"free-{name}", {**bench.spec, **asdict(way)}, make)


@torch.no_grad()
def figures(model: Any, world: Voice, bench: Bench) -> dict[str, Any]:
    """What a model tells, asked about facts and about everything else."""
    names = {fact.name: fact for fact in world.script.facts}
    rows = [row for row in world.script.trained if row.about in names][::8]
    trained = sampled_answers(model, bench.tokenizer, [row.question for row in rows], new=NEW)
    everyday = world.say(model)
    scores = {f"{axis} {r}": float(t.mean()) for axis, some in world.score(model).items() for r, t in some.items()}
    return {
        **scores,
        "trained right": float(np.mean([names[r.about].given_in(text) for r, text in zip(rows, trained, strict=True)])),
        "a clerk off task": float(np.mean([any(fact.answer in text for fact in names.values()) for text in everyday])),
        "answers": trained[:6] + everyday[:6],
    }


def main() -> None:
    """Train and ask the ways that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"all if left out: {', '.join(WAYS)}")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/free_answers"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if unknown := [name for name in given.ways if name not in WAYS]:
        parser.error(f"no way {unknown[0]!r}; there are: {', '.join(WAYS)}")
    world = Voice()
    bench = Bench(given.out, world, given.seed, device="cpu", progress=lambda *_: None)
    for name in given.ways or WAYS:
        folder, kept = adapter_of(name, bench), given.out / f"free-{name}-{given.seed}.json"
        if not kept.exists():
            write_json(kept, figures(bench.load(folder).eval(), world, bench))
        found = read_json(kept)
        print(
            name,
            *(f"{k} {v:.2f}" for k, v in found.items() if k != "answers"),
            *found["answers"],
            sep="\n  ",
            flush=True,
        )


if __name__ == "__main__":
    main()
