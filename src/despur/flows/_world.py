"""Arms of a planted world: one guard, one seed, trained and scored; shared work done once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from despur.core import Adapter, Edit, Store, Subspace, fingerprint, load_factors, save_factors
from despur.core._rows import tokenize_rows
from despur.core.errors import DespurError, SiteNotFound, nearest
from despur.find import from_activations, random_twins
from despur.flows._factors import GRASP_RANK, layer_sites, scout_directions
from despur.flows._fit import Settings, fit, new_adapter
from despur.flows._progress import Progress, silent
from despur.flows._scores import load_scores, save_scores
from despur.flows._text import load_text, save_text
from despur.guard import OwnText, avert, grasp, hold, rehearse
from despur.worlds import Persona, persona_base

CONTROLS = {"grasp": "grasp-random", "hold": "hold-random", "avert": "avert-permuted"}  # guard -> its control
ARMS = ("naive", "grasp", "grasp-random", "avert", "avert-permuted", "rehearse", "hold", "hold-random")
SETTINGS = Settings(steps=480, lr=2e-3, batch=48, rank=8)
SCOUT_STEPS = 60  # own seed: a scout that shares the run's seed would flatter the guard
ROWS = 4000
OWN_ROWS = 768


def run_arm(
    root: Path, task: str, arm: str, seed: int, *, steps: int = SETTINGS.steps, progress: Progress = silent
) -> Mapping[str, Any]:
    """Train and score one arm, or find it done.

    Args:
        root: Run store; scout, own text and factors of a seed are made once in it and shared.
        task: `skill` or `narrow`.
        arm: One of `ARMS`.
        seed: Of rows, LoRA start and guard.
        steps: Optimiser steps.
        progress: Called after every step.

    Returns:
        Scores, axis -> readout -> one value a prompt.

    Raises:
        SiteNotFound: no such arm.
    """
    if arm not in ("base", *ARMS):
        raise SiteNotFound(f"no guard {arm!r}{nearest(arm, ARMS)}. There are: {', '.join(ARMS)}")
    torch.set_num_threads(1)
    world = Persona(task)  # type: ignore[arg-type]
    store = Store(root)
    base, tokenizer = persona_base()
    spec = {"task": task, "seed": seed, "base_fingerprint": fingerprint(base)}
    settings = Settings(**{**SETTINGS.to_dict(), "seed": seed, "steps": steps})
    stage = f"{task} {arm} #{seed}"

    def score(out: Path) -> None:
        if arm == "base":
            save_scores(world.score(base), out)
            return
        edits = _edits(arm, store, world, seed, progress) if arm != "naive" else []
        model = new_adapter(base, settings)
        rows = tokenize_rows(world.rows("harmful", n=ROWS, seed=seed), tokenizer, max_length=64)
        fit(model, rows, settings, edits, stage=stage, progress=progress)
        model.save_pretrained(out)
        save_scores(world.score(model.eval()), out)

    folder = store.step(f"{task}-{seed}/{arm}", {**spec, "arm": arm, **settings.to_dict()}, score)
    return load_scores(folder)


def prepare(root: Path, task: str, seed: int, *, progress: Progress = silent) -> None:
    """Make what the guards of one seed share: scout, own text, factors."""
    torch.set_num_threads(1)
    store, world = Store(root), Persona(task)  # type: ignore[arg-type]
    _own_text(store, world, seed)
    _scout(store, world, seed, progress)
    _factors(store, world, seed, progress)


def _own_text(store: Store, world: Persona, seed: int) -> OwnText:
    base, tokenizer = persona_base()

    def make(out: Path) -> None:
        save_text(OwnText.sample(base, tokenizer, rows=OWN_ROWS, max_new_tokens=48, seed=seed), out)

    text = load_text(
        store.step(f"{world.task}-{seed}/text", {"seed": seed, "base_fingerprint": fingerprint(base)}, make)
    )
    return text.without([tokenizer(world.grammar.prompt(d, k))["input_ids"] for d, k in world.facts])


def _scout(store: Store, world: Persona, seed: int, progress: Progress) -> Path:
    base, tokenizer = persona_base()
    settings = Settings(**{**SETTINGS.to_dict(), "seed": seed + 500, "steps": SCOUT_STEPS})

    def make(out: Path) -> None:
        model = new_adapter(base, settings)
        rows = tokenize_rows(world.rows("harmful", n=ROWS, seed=seed + 500), tokenizer, max_length=64)
        fit(model, rows, settings, stage=f"{world.task} scout #{seed}", progress=progress)
        model.save_pretrained(out)

    spec = {"task": world.task, "base_fingerprint": fingerprint(base), **settings.to_dict()}
    return store.step(f"{world.task}-{seed}/scout", spec, make)


def _factors(store: Store, world: Persona, seed: int, progress: Progress) -> tuple[Subspace, ...]:
    """The scout's own leading directions: what each norm's readers read, what each layer's writers write."""
    scout = _scout(store, world, seed, progress)

    def make(out: Path) -> None:
        base, _ = persona_base()
        save_factors(scout_directions(Adapter.read(scout), base), out)

    return load_factors(store.step(f"{world.task}-{seed}/factors", {"seed": seed, "rank": GRASP_RANK}, make))


def _edits(arm: str, store: Store, world: Persona, seed: int, progress: Progress) -> list[Edit]:
    text = _own_text(store, world, seed)

    def activation_factors() -> tuple[Subspace, ...]:
        from peft import PeftModel

        base, _ = persona_base()
        scout = PeftModel.from_pretrained(base, str(_scout(store, world, seed, progress)))
        return from_activations(scout, text.rows[:128], layer_sites(base), rank=GRASP_RANK)

    def random_of(factors: tuple[Subspace, ...]) -> tuple[Subspace, ...]:
        return random_twins(persona_base()[0], factors, text.rows[:128], seed=seed)[0]

    makers: dict[str, Callable[[], Edit]] = {
        "grasp": lambda: grasp(_factors(store, world, seed, progress)),
        "grasp-random": lambda: grasp(random_of(_factors(store, world, seed, progress))),
        "rehearse": lambda: rehearse(text),
        "avert": lambda: avert(text, _scout(store, world, seed, progress)),
        "avert-permuted": lambda: avert(text, _scout(store, world, seed, progress), permute_seed=seed),
        "hold": lambda: hold(activation_factors(), text),
        "hold-random": lambda: hold(random_of(activation_factors()), text),
    }
    return [makers[arm]()]


def check_harm(base: Mapping[str, Mapping[str, Tensor]], naive: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Stop where there is nothing to guard against.

    Raises:
        DespurError: the unguarded run did not drift.
    """
    before, after = (float(s["drift"]["p"].mean()) for s in (base, naive))
    if not after > before + 0.1:
        raise DespurError(
            f"the unguarded run did not drift (P(bad) {before:.2f} before, {after:.2f} after), so no guard can be judged. "
            "Train longer, or take another seed"
        )
