"""Stages of one training run, each made once and stored in its folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from despur.core import (
    Adapter,
    Edit,
    Store,
    Subspace,
    digest,
    load_factors,
    read_json,
    save_factors,
    write_json,
)
from despur.core.adapter.peft_folder import tune_digest
from despur.core.disk.new_folder import DONE
from despur.core.model.load_tune import load_tune
from despur.core.text.rows import Tokens, prompt_of
from despur.core.text.shuffle import shuffled_rows
from despur.find import mean_shift
from despur.flows._shuffled.recipe import shuffled_settings
from despur.flows._train.checkpoints import FOLDER as CHECKPOINTS
from despur.flows._train.checkpoints import Checkpoints, save_every
from despur.flows._train.fit import Settings, fit, new_adapter
from despur.flows._train.history import History, Looks, course_of, figures_of
from despur.flows._train.reference import Reference
from despur.flows._train.rounds import joined
from despur.flows._verify.certificate import factors_digest
from despur.flows.load import context_length
from despur.flows.maker import Maker
from despur.flows.progress import Progress
from despur.flows.recorded_base import record_base
from despur.flows.text_files import load_text, save_text, text_spec
from despur.guard import OwnText
from despur.guard.first_tokens import QUESTIONS, TOKENS
from despur.measure import off_task


@dataclass
class Stages:
    """What a run is made of.

    Args:
        reference: What it starts from: the base, or the base with an adapter on.
        rows: Rows to train on.
        store: The run's folder.
        settings: Settings of the guarded run.
        facts: What every stage depends on: fingerprint of the base, digest of the data.
        progress: Called after every step.
        held_out: Rows that are not trained on.
        looks: How often to save and to evaluate, and when to stop.
        unseen: Own text that no guard sees, where there are evaluations.
        roles: For architectures that are not in the table; see `stream_roles`.
    """

    reference: Reference
    rows: Sequence[Tokens]
    store: Store
    settings: Settings
    facts: dict[str, str]
    progress: Progress
    held_out: list[Tokens]
    looks: Looks = field(default_factory=Looks)
    unseen: OwnText | None = None
    roles: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.roles:  # a stage made with other roles is another stage
            self.facts = {**self.facts, "roles": digest(dict(self.roles))}
        self.history, self.notes, self.used = History(self.store.root), list[str](), set[str]()

    def step(self, name: str, spec: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        self.used.add(name)
        return self.store.step(name, {**self.facts, **spec}, make)

    def adapter(
        self, name: str, settings: Settings, edits: Any = None, spec: Mapping[str, Any] | None = None, *, patient: bool = True,
        rows: Callable[[], Sequence[Tokens]] | None = None,
    ) -> Path:  # fmt: skip
        """Train an adapter, or go on with it; the scout is not `patient`: its length was chosen. Other `rows` stand in the spec."""
        looks = self.looks if patient else replace(self.looks, patience=0)
        whole = {**settings.to_dict(), **(spec or {}), **looks.spec()}
        saved = Checkpoints(
            self.store.root / CHECKPOINTS / f"{name}-{digest({**self.facts, **whole})}",
            save_every(looks.save_every, settings.steps),
        )

        def make(out: Path) -> None:
            bound: list[Edit] = edits() if edits else []
            model = new_adapter(self.reference.load()[0], settings, roles=self.roles)
            unseen = self.unseen if looks.eval_every else None
            start = [{"step": 0, **figures_of(model, self.held_out, unseen)}] if unseen else []
            fitted = fit(
                model, rows() if rows else self.rows, settings, bound, stage=name, progress=self.progress, every=looks.eval_every,
                evaluate=(lambda model, _: figures_of(model, self.held_out, unseen)) if unseen else None,
                patience=looks.patience, checkpoints=saved, device=self.reference.placement.device,
                on_evaluation=lambda now: self.history.add(name, course_of(now, start)),
            )  # fmt: skip
            if fitted.resumed:
                self.notes.append(f"{name} was interrupted, and went on from step {fitted.resumed}")
            model.save_pretrained(out)
            record_base(out, self.reference.base)
            write_json(out / DONE, {"course": course_of(fitted, start)})

        folder = self.step(name, whole, make)
        saved.clear(name)
        if course := read_json(folder / DONE).get("course"):
            self.history.add(name, course)
        return folder

    def shuffled_scout(self, steps: int | None, number: int = 0) -> Path:
        """A scout on the rows with their answers exchanged: a third of the run's steps, as it cannot learn the task."""
        short = shuffled_settings(self.settings, steps, number)
        return self.adapter(
            f"shuffled_scout_{number + 1}" if number else "shuffled_scout", short, spec={"rows": "shuffled"}, patient=False,
            rows=lambda: shuffled_rows(self.rows, seed=short.seed),
        )  # fmt: skip

    def joined(self, added: Path, plain: str) -> Path:
        """What a run added, joined with the adapter that it went on with: an adapter of the plain base.

        Args:
            added: Folder of the added adapter.
            plain: Fingerprint of the plain base.
        """
        spec = {
            "added": tune_digest(added),
            "base_fingerprint": plain,
            "start_fingerprint": self.facts["base_fingerprint"],
        }
        return self.step("adapter", spec, lambda out: self.reference.join(added, out))

    def own_text(self, rows: int, new: int, file: Path | str | None, seed: int, name: str) -> OwnText:
        def make(out: Path) -> None:
            model, tokenizer = self.reference.load()
            self.progress(name, 0, 1, {})
            if file is not None:
                text = OwnText.read(file, tokenizer, max_length=context_length(model, 512))
            else:
                text = OwnText.sample(model, tokenizer, rows=rows, max_new_tokens=new, seed=seed, batch=64)
            save_text(text.without(prompt_of(r) for r in self.rows), out)
            self.progress(name, 1, 1, {})

        spec = {"rows": rows, "new": new, "file": text_spec(file), "seed": seed}
        return load_text(self.step(name, spec, make))

    def beginnings(self, file: Path | str | None) -> OwnText:
        """Very many questions that the base asks itself, and how it begins to answer them."""
        return self.own_text(QUESTIONS, TOKENS, file, self.settings.seed + 1, "beginnings")

    def rejoined(
        self, former: Sequence[Subspace], adapter: Path, number: int, materials: Maker
    ) -> tuple[Subspace, ...]:
        """What a guarded adapter reads and writes, joined with the directions it was guarded along."""

        def make(out: Path) -> None:
            save_factors(joined(former, materials.directions(Adapter.read(adapter, materials.get("base")))), out)

        spec = {"of": "weights", "adapter": tune_digest(adapter), "former": factors_digest(former)}
        return load_factors(self.step(f"weight_factors_{number}", spec, make))

    def tuned(self, folder: Path) -> Any:
        model, _ = self.reference.load()
        return load_tune(model, folder)

    def shift(self, scout: Path, text: OwnText, factor: Subspace) -> Tensor:
        return mean_shift(self.tuned(scout), text.rows[:128], factor)

    def score(self, folder: Path | None, held_out: list[Tokens], text: OwnText, factor: Subspace, shift: Tensor) -> Any:
        self.progress("measure", 0, 1, {})
        # a fresh LoRA has B = 0 and is the base itself
        model = self.tuned(folder) if folder else new_adapter(self.reference.load()[0], self.settings, roles=self.roles)
        return off_task(
            model, held_out=held_out, own_text=text.rows[:128], starts=text.starts[:128], factor=factor, shift=shift
        )
