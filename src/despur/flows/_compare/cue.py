"""Arms of the `cue` world as learning curves: when is the shortcut taken, and what does a guard change?"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from despur.core import Store, fingerprint, read_json, write_json
from despur.core.build import build
from despur.core.errors import UnknownName
from despur.core.model.load_tune import load_tune
from despur.core.text.rows import tokenize_rows
from despur.flows._train.fit import Settings, fit, new_adapter
from despur.flows.maker import Maker
from despur.flows.progress import Progress, silent
from despur.flows.sources import Sources
from despur.guard import OwnText
from despur.worlds import Cue, persona_base

CUE_CONTROLS = ("grasp-random-0", "grasp-random-1", "grasp-random-2")  # one draw may hit what the task needs
CUE_ARMS = ("naive", "grasp", *CUE_CONTROLS)
# maps that write the stream read inside their blocks, past every norm at which directions can be projected
CUE_SETTINGS = Settings(steps=200, lr=1e-3, batch=48, rank=8, targets="readers")
CUE_FACTS = 320
CUE_RANK = 6  # of 64; on seeds 20 to 29 4 let two of ten through
CUE_SCOUTS = 3  # one scout takes one way of reading the cue, the guarded run another: with three it leaks later
CUE_SCOUT_STEPS = 240
EVERY = 10


def run_cue(
    root: Path,
    arm: str,
    seed: int,
    *,
    steps: int = CUE_SETTINGS.steps,
    rank: int = CUE_RANK,
    scouts: int = CUE_SCOUTS,
    targets: str = CUE_SETTINGS.targets,
    progress: Progress = silent,
) -> Mapping[str, Any]:
    """Train one arm and save its curve: step -> accuracy with the cue aligned, absent, in conflict.

    The guard projects out what each norm's readers of unguarded scouts (own seeds) read most; the controls
    project out random directions of the same rank and share of activation variance.

    Args:
        root: Run store.
        arm: One of `CUE_ARMS`.
        seed: Seed of rows, LoRA start, scout and control.
        steps: Optimiser steps.
        rank: Directions projected at each norm.
        scouts: Unguarded runs whose read directions are projected.
        targets: Maps that get LoRA; see `Settings`.
        progress: Called after every step.
    """
    if arm not in CUE_ARMS:
        raise UnknownName(f"no arm {arm!r} in the cue world. There are: {', '.join(CUE_ARMS)}")
    torch.set_num_threads(1)
    world, store = Cue(seed, size=CUE_FACTS), Store(root)
    base, tokenizer = persona_base()
    settings = replace(CUE_SETTINGS, seed=seed, steps=steps, targets=targets)
    spec = {"seed": seed, "base_fingerprint": fingerprint(base), "facts": CUE_FACTS}
    own = [replace(settings, seed=seed + 500 + 1000 * i, steps=CUE_SCOUT_STEPS) for i in range(scouts)]
    guarded = {} if arm == "naive" else {"held": rank, "scouts": scouts, "scout_steps": CUE_SCOUT_STEPS}
    name = cue_folder(arm, rank=rank, scouts=scouts, targets=targets)

    def rows_of(seed: int) -> Any:
        return tokenize_rows(world.rows(seed=seed), tokenizer, max_length=16)

    def train_scout(out: Path, own: Settings) -> None:
        model = new_adapter(persona_base()[0], own)
        fit(model, rows_of(own.seed), own, stage=f"cue scout #{own.seed}", progress=progress)
        model.save_pretrained(out)

    def scout(number: int) -> Path:
        one = own[number]
        return store.step(
            f"cue-{seed}/scout-{one.seed}-{targets}", {**spec, **one.to_dict()}, partial(train_scout, own=one)
        )

    sources = Sources(
        base=lambda: base, load=lambda folder: load_tune(persona_base()[0], folder),
        rows=lambda: rows_of(seed), scout=scout,
        text=lambda: OwnText.sample(base, tokenizer, rows=128, max_new_tokens=48, seed=seed),
    )  # fmt: skip
    materials = Maker(
        sources, lambda part, of, make: store.step(f"cue-{seed}/{part}-{rank}-{scouts}-{targets}", {**spec, **of}, make),
        seed=seed, weight_rank=rank, scouts=scouts, sides=("read",),
    )  # fmt: skip

    def make(out: Path) -> None:
        form = arm.removeprefix("grasp").removeprefix("-")  # "random-0" of the first control
        instead = {"factor": f"{form} weight_factor".strip()}
        edits = [] if arm == "naive" else [build("grasp", materials, instead=instead, side="read")]
        model = new_adapter(persona_base()[0], settings)
        curve: dict[str, dict[str, float]] = {}

        def evaluate(model: Any, step: int) -> None:
            scores = world.score(model)
            accuracy = {n: float((scores[n]["p"] > 0.5).float().mean()) for n in ("aligned", "absent", "conflict")}
            curve[str(step)] = {**accuracy, "legitimate": float(scores["legitimate"]["p"].mean())}

        fit(model, rows_of(seed), settings, edits, stage=f"cue {arm} #{seed}", progress=progress,
            every=EVERY, evaluate=evaluate)  # fmt: skip
        write_json(out / "curve.json", curve)

    folder = store.step(f"cue-{seed}/{name}", {**spec, **guarded, "arm": arm, **settings.to_dict()}, make)
    return read_json(folder / "curve.json")


def deepest(naive: Mapping[str, Mapping[str, float]]) -> str:
    """Step of a naive curve at which conflict accuracy is lowest, of those at which the aligned rows are learned.

    A step before anything is learned is no shortcut.
    """
    learned = [step for step in naive if naive[step]["aligned"] > 0.9] or list(naive)
    return min(learned, key=lambda step: naive[step]["conflict"])


def cue_folder(arm: str, *, rank: int = CUE_RANK, scouts: int = CUE_SCOUTS, targets: str = CUE_SETTINGS.targets) -> str:
    """Name of an arm's folder within `cue-SEED/`."""
    return f"{arm}-{targets}" if arm == "naive" else f"{arm}-{rank}-{scouts}-{targets}"
