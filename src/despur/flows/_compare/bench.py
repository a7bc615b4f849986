"""What all runs of one world and one seed share: text, scout, factors, and the runs that they are measured against."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from despur.core import Edit, Store, fingerprint
from despur.core.model.load_tune import load_tune
from despur.core.text.cuts import Encoder
from despur.core.text.rows import Tokens, tokenize_rows
from despur.flows._compare.arms import EARLY
from despur.flows._compare.materials import materials_of
from despur.flows._compare.own import OwnWork
from despur.flows._compare.worlds import settings_of
from despur.flows._train.fit import Settings, fit, new_adapter
from despur.flows.maker import Maker
from despur.flows.placement import Device, dtype_of, placed
from despur.flows.progress import Progress, silent
from despur.flows.text_files import load_text, save_text
from despur.guard import OwnText
from despur.worlds.world import Twin, World

OWN_ROWS, OWN_TOKENS = 768, 48
SCOUT_SHARE = 1 / 8  # of the run's steps; its own seed: a scout that shares the run's would flatter the guard


class Bench:
    """One world and seed, and everything that several runs of it need, each part made once and stored.

    Args:
        root: Folder of the study.
        world: A planted world, or a user's own work.
        seed: Seed of rows, LoRA start, text and guards.
        steps: Optimiser steps; the world's own if left out.
        device: Where models are computed, as in `Placement`.
        progress: Called after every step.
    """

    def __init__(
        self, root: Path, world: World | OwnWork, seed: int, *, steps: int | None = None, device: Device = "auto",
        progress: Progress = silent,
    ) -> None:  # fmt: skip
        torch.set_num_threads(1)
        self.world, self.seed, self.progress = world, seed, progress
        self.device: Device = device
        given = settings_of(world.training)
        self.count = world.training["rows"]
        self.settings = replace(given, steps=steps or given.steps, seed=seed)
        self.store = Store(Path(root) / "shared" / f"{world.name}-{seed}")
        self._tokens: dict[tuple[str, int], list[Tokens]] = {}
        self.open = contextlib.ExitStack()  # what a run attaches to its model while it is scored

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What every run of this bench depends on."""
        own = {
            "world": self.world.name,
            "rows": self.count,
            "base_fingerprint": fingerprint(self.base),
            "dtype": dtype_of(self.base),  # of a real base it is the processor's choice
        }
        return {**own, **self.settings.to_dict()}

    @cached_property
    def base(self) -> nn.Module:
        """The plain base, only to be read: `fresh` gives one to change."""
        return self._loaded[0]

    @cached_property
    def tokenizer(self) -> Any:
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        model, tokenizer = self.world.base()
        return placed(model, self.device), tokenizer

    def fresh(self) -> nn.Module:
        return placed(self.world.base()[0], self.device)

    def tokens(self, twin: Twin = "harmful", *, seed: int | None = None) -> list[Tokens]:
        """Tuning rows as tokens with labels; made once."""
        key = twin, self.seed if seed is None else seed
        if key not in self._tokens:
            rows = self.world.rows(twin, n=self.count, seed=key[1])
            self._tokens[key] = tokenize_rows(rows, self.tokenizer, max_length=int(self.world.training["max_length"]))
        return self._tokens[key]

    def encode(self, texts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        encoder = Encoder(self.tokenizer)
        return tuple(tuple(encoder.asked(t)) for t in texts)

    def train(
        self,
        edits: Sequence[Edit] = (),
        *,
        rows: Sequence[Tokens] | None = None,
        full: bool = False,
        start: nn.Module | None = None,
        stage: str = "train",
        every: int = 0,
        evaluate: Callable[[Any, int], None] | None = None,
        **overrides: Any,
    ) -> nn.Module:
        """Train a fresh LoRA, or the whole model, on the harmful rows; gives it in eval mode.

        Args:
            edits: Guards.
            rows: Other rows.
            full: Train every weight, no adapter.
            start: A model to continue training, in place of a fresh one.
            stage: Name that progress shows.
            every: Steps between calls of `evaluate`.
            evaluate: Called with the model and the step.
            **overrides: Of the bench's settings.
        """
        settings = Settings(**{**self.settings.to_dict(), **overrides})
        model = start or (self.fresh() if full else new_adapter(self.fresh(), settings))
        if full:
            model.requires_grad_(True)
        fit(model, self.tokens() if rows is None else rows, settings, edits, stage=f"{self.world.name} {stage} #{self.seed}",
            progress=self.progress, every=every, evaluate=evaluate, device=self.device)  # fmt: skip
        return model.eval()

    def load(self, folder: Path) -> Any:
        """The base under a saved adapter."""
        return load_tune(self.fresh(), folder)

    @cached_property
    def text(self) -> OwnText:
        """What the base writes by itself, without rows that pose a training prompt."""
        given = self.world.training
        return self.own_text("text", given.get("own_rows", OWN_ROWS), given.get("own_tokens", OWN_TOKENS), self.seed)

    def own_text(self, name: str, rows: int, new: int, seed: int) -> OwnText:
        def make(out: Path) -> None:
            text = OwnText.sample(self.base, self.tokenizer, rows=rows, max_new_tokens=new, seed=seed)
            save_text(text.without(self.encode(self.world.prompts())), out)

        return load_text(self.store.step(name, {**self.spec, "own_rows": rows, "own_tokens": new}, make))

    @cached_property
    def scout(self) -> Path:
        """Folder of a short unguarded run with a seed of its own."""
        steps = max(16, round(self.settings.steps * SCOUT_SHARE))

        def make(out: Path) -> None:
            seed = self.seed + 500
            model = self.train(rows=self.tokens(seed=seed), stage="scout", seed=seed, steps=steps)
            model.save_pretrained(out)  # type: ignore[operator]

        return self.store.step("scout", {**self.spec, "scout_steps": steps}, make)

    @cached_property
    def naive(self) -> Path:
        """Folder of the unguarded run; `early` has its checkpoints."""

        def make(out: Path) -> None:
            steps = self.early_steps

            def keep(model: Any, step: int) -> None:
                if step in steps.values():
                    model.save_pretrained(out / f"step-{step}")

            model = self.train(stage="naive", every=1, evaluate=keep)
            model.save_pretrained(out)  # type: ignore[operator]

        return self.store.step("naive", {**self.spec, "early": EARLY}, make)

    @property
    def early_steps(self) -> dict[float, int]:
        """Share of the naive run's steps -> the step whose checkpoint is saved."""
        return {share: max(1, round(share * self.settings.steps)) for share in EARLY}

    def early(self, share: float) -> Path:
        return self.naive / f"step-{self.early_steps[share]}"

    def twin(self, twin: Twin) -> Path:
        """Folder of an unguarded run on the neutral or benign twin of the rows."""

        def make(out: Path) -> None:
            self.train(rows=self.tokens(twin), stage=twin).save_pretrained(out)  # type: ignore[operator]

        return self.store.step(twin, self.spec, make)

    @cached_property
    def materials(self) -> Maker:
        """What methods are built from in this world."""
        return materials_of(self)

    @property
    def twins(self) -> Sequence[Twin]:
        """The other data sets that the world has."""
        return getattr(self.world, "twins", ("neutral", "benign"))
