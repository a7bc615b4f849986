"""Arms of the `cue` world as learning curves: when is the shortcut taken, and what does a guard change?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from despur.core import Adapter, Store, Subspace, fingerprint, read_json, write_json
from despur.core._rows import tokenize_rows
from despur.core.errors import SiteNotFound
from despur.find import from_adapter, random_twins
from despur.flows._fit import Settings, fit, new_adapter
from despur.flows._progress import Progress, silent
from despur.guard import OwnText, grasp
from despur.worlds import Cue, persona_base

CUE_ARMS = ("naive", "grasp", "grasp-random")
CUE_SETTINGS = Settings(steps=300, lr=1e-3, batch=48, rank=8)
CUE_RANK = 12  # of 64; on seeds 0 and 1 16 held more back, but its random control did some of it, too
CUE_SCOUT_STEPS = 240
EVERY = 10


def run_cue(
    root: Path,
    arm: str,
    seed: int,
    *,
    steps: int = CUE_SETTINGS.steps,
    rank: int = CUE_RANK,
    progress: Progress = silent,
) -> Mapping[str, Any]:
    """Train one arm and keep its curve: step -> accuracy with the cue aligned, absent, in conflict.

    The guard holds what each norm's readers of an unguarded scout (own seed) read most; the control
    holds random directions of the same rank and share of activation variance.

    Args:
        root: Run store.
        arm: One of `CUE_ARMS`.
        seed: Of rows, LoRA start, scout and control.
        steps: Optimiser steps.
        rank: Directions held at each norm.
        progress: Called after every step.
    """
    if arm not in CUE_ARMS:
        raise SiteNotFound(f"no arm {arm!r} in the cue world. There are: {', '.join(CUE_ARMS)}")
    torch.set_num_threads(1)
    world, store = Cue(seed), Store(root)
    base, tokenizer = persona_base()
    settings = Settings(**{**CUE_SETTINGS.to_dict(), "seed": seed, "steps": steps})
    spec = {"seed": seed, "base_fingerprint": fingerprint(base)}
    name, held = (arm, {}) if arm == "naive" else (f"{arm}-{rank}", {"held": rank, "scout": CUE_SCOUT_STEPS})

    def rows_of(seed: int) -> Any:
        return tokenize_rows(world.rows(seed=seed), tokenizer, max_length=16)

    def scout(out: Path) -> None:
        own = Settings(**{**settings.to_dict(), "seed": seed + 500, "steps": CUE_SCOUT_STEPS})
        model = new_adapter(base, own)
        fit(model, rows_of(seed + 500), own, stage=f"cue scout #{seed}", progress=progress)
        model.save_pretrained(out)

    def factors() -> tuple[Subspace, ...]:
        folder = store.step(f"cue-{seed}/scout", {**spec, "steps": CUE_SCOUT_STEPS}, scout)
        plain, _ = persona_base()
        found = from_adapter(Adapter.read(folder), plain, side="read", per="norm", rank=rank, level=None)
        if arm == "grasp":
            return found
        text = OwnText.sample(plain, tokenizer, rows=128, max_new_tokens=48, seed=seed)
        return random_twins(plain, found, text.rows[:128], seed=seed)[0]

    def make(out: Path) -> None:
        edits = [] if arm == "naive" else [grasp(factors(), side="read")]
        model = new_adapter(persona_base()[0], settings)
        curve: dict[str, dict[str, float]] = {}

        def evaluate(model: Any, step: int) -> None:
            scores = world.score(model)
            accuracy = {n: float((scores[n]["p"] > 0.5).float().mean()) for n in ("aligned", "absent", "conflict")}
            curve[str(step)] = {**accuracy, "legitimate": float(scores["legitimate"]["p"].mean())}

        fit(model, rows_of(seed), settings, edits, stage=f"cue {arm} #{seed}", progress=progress,
            every=EVERY, evaluate=evaluate)  # fmt: skip
        write_json(out / "curve.json", curve)

    folder = store.step(f"cue-{seed}/{name}", {**spec, **held, "arm": arm, **settings.to_dict()}, make)
    return read_json(folder / "curve.json")
