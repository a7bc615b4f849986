"""One training run, stage after stage: scout, own text, factors, guarded rounds, certificate, measures, page."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from despur.core import Adapter, Edit, Report, Store, Subspace, write_json
from despur.core.adapter.peft_folder import tune_digest
from despur.core.spec import content_digest
from despur.flows._train.beside import BESIDE, edits_of_run
from despur.flows._train.blocks import write_train_page
from despur.flows._train.fit import Settings
from despur.flows._train.guarding import UNGUARDED, factors_of, hears, leaks
from despur.flows._train.heard import Heard, what_was_left_out
from despur.flows._train.history import Looks
from despur.flows._train.page import Trained
from despur.flows._train.seen import Seen
from despur.flows._train.speech import what_rows_ask, what_they_say
from despur.flows._train.stages import Stages
from despur.flows._train.start import Start
from despur.flows._verify.certificate import FILE, factors_digest
from despur.flows._verify.certify import certify
from despur.flows.maker import Maker
from despur.flows.progress import Progress
from despur.flows.record import private, run_record
from despur.flows.sources import Sources
from despur.flows.text_files import text_spec
from despur.guard import OwnText
from despur.judge import four_axes
from despur.measure import leakage

FACTOR_RANK = 2  # directions of a layer
TOO_MANY = 3  # of a short scout: more drift than that describes the scout, not the guard


@dataclass
class Run:
    """A run that was checked and may write.

    Args:
        start: What it starts from.
        arguments: As they are recorded.
        looks: How often to save and to evaluate.
        progress: Called after every step.
    """

    start: Start
    arguments: Mapping[str, Any]
    looks: Looks
    progress: Progress
    stages: Stages = field(init=False)

    def __post_init__(self) -> None:
        s = self.start
        self.stages = Stages(
            s.reference, s.rows, Store(s.out), s.settings, s.facts, self.progress, s.held_out, self.looks, roles=s.roles
        )
        self.guard: str = self.arguments["guard"]
        self.reference = "twin" if self.arguments["twin"] else "scout"

    def all(self) -> Trained:
        """Make every stage that is not there yet, and what is written of them."""
        heard = Heard.of_run(self.stages, self.start, self.arguments)
        seen = self._scout(heard)
        before = heard.notes(seen.scouts[0]) if heard else ()
        for note in before:
            warnings.warn(note, stacklevel=2)
        factors, adapter = self._guarded(seen)
        naive = self.stages.adapter("twin", self.start.settings) if self.arguments["twin"] else seen.scouts[0]
        whole = self.stages.joined(adapter, self.start.plain) if self.start.goes_on else adapter
        self._certify(whole, seen.materials, factors)
        scores, axes = self._measure(seen, naive, adapter)
        leak = self._leak(adapter, factors) if leaks(self.guard) else {}
        record = {**run_record("train", self.arguments), **self.start.facts}
        left = heard.left_out(adapter) if heard else {}
        notes = (*before, *self._notes(seen, axes), *([what_was_left_out(left)] if left else []))
        given = heard.kept(whole) if heard and self.arguments["keep"] == "factor" else whole
        speakers = {self.reference: naive, self.guard: adapter}
        replies = what_they_say(self.stages, seen.fresh, speakers)
        on_task = what_rows_ask(self.stages, self.start.held_out, speakers)
        page, courses, factor = self.start.out / "report.html", self.stages.history.stages, heard and heard.factor()
        result = Trained(
            given, axes, self.reference, leak, page, record, notes, courses, factor, left, replies, on_task
        )
        write_train_page(result, self.guard, seen.text, scores)
        write_json(self.start.out / "run.json", private(result.to_dict()))
        return result

    @property
    def _short(self) -> Settings:
        """The scout's settings."""
        s = self.start.settings
        return replace(s, steps=self.arguments["scout_steps"] or max(16, s.steps // 4), seed=s.seed + 500)

    def _scout(self, heard: Heard | None) -> Seen:
        a, stages, seed, short = self.arguments, self.stages, self.start.settings.seed, self._short
        fresh = stages.own_text(
            max(32, a["own_rows"] // 4), a["own_tokens"], a["rehearse_on"], seed + 1000, "fresh_text"
        )
        stages.unseen = fresh
        first = self.start.scout or stages.adapter("scout", short, patient=False)
        text = stages.own_text(a["own_rows"], a["own_tokens"], a["rehearse_on"], seed, "own_text")
        more = [
            stages.adapter(f"scout_{i + 1}", replace(short, seed=short.seed + 1000 * i), patient=False)
            for i in range(1, 1 if heard else a["scouts"])
        ]
        scouts = (first, *more)
        materials = self._materials(scouts, text, heard)
        materials.get("factor")  # measured along in any case: if none can be found, that fails before the long run
        return Seen(scouts, text, fresh, materials)

    def _materials(self, scouts: tuple[Path, ...], text: OwnText, heard: Heard | None) -> Maker:
        start, stages = self.start, self.stages
        generic, naming, pairs = self.arguments["rehearse_on"], self.start.naming, self.start.pairs
        sources = Sources(
            base=lambda: start.reference.load()[0], load=stages.tuned, rows=lambda: start.rows, text=lambda: text,
            scout=lambda number: scouts[number], shuffled=(lambda: heard.material) if heard else None,
            beginnings=lambda: stages.beginnings(generic),
            generic=(lambda: text) if generic is not None else None,
            naming=(lambda: (naming, ())) if naming is not None else None, pairs=(lambda: pairs) if pairs is not None else None,
            template=(lambda: template) if (template := start.template) is not None else None,
        )  # fmt: skip
        return Maker(
            sources, stages.step, seed=start.settings.seed, rank=FACTOR_RANK, scouts=len(scouts), roles=start.roles
        )

    def _guarded(self, seen: Seen) -> tuple[tuple[Subspace, ...], Path]:
        """Train with the guard, once or in rounds; gives what it was given in the last one, and the adapter."""
        rounds, settings, spec = self.arguments["rounds"], self.start.settings, self._spec()
        factors = self.start.factors or factors_of(self.guard, seen.materials)

        def edits() -> Any:
            return self._edits(seen.materials, factors)

        for number in range(1, rounds):
            folder = self.stages.adapter(
                f"round_{number}", settings, edits, {**spec, "factors": factors_digest(factors)}
            )
            factors = self.stages.rejoined(factors, folder, number + 1, seen.materials)
        if self.start.factors or len(seen.scouts) > 1 or rounds > 1:
            spec["factors"] = factors_digest(factors)
        return factors, self.stages.adapter("added" if self.start.goes_on else "adapter", settings, edits, spec)

    def _spec(self) -> dict[str, Any]:
        """What the guarded stages depend on besides the settings."""
        a, taken = self.arguments, self.start.scout
        scout = tune_digest(taken) if taken else a["scout_steps"]
        spec: dict[str, Any] = {"guard": self.guard, "strength": a["strength"], "scout": scout}
        spec |= {k: a[k] for k in ("guard_options", "guard_budget", "trait", *BESIDE) if a[k]}
        if self.start.pairs is not None:
            spec["pairs"] = content_digest(self.start.pairs)
        if hears(self.guard) and a["scouts"] > 1:
            spec["scouts"] = a["scouts"]
        if self.guard != UNGUARDED:
            spec |= {"own_rows": a["own_rows"], "own_tokens": a["own_tokens"]}
            spec["rehearse_on"] = text_spec(a["rehearse_on"])
        return spec

    def _edits(self, materials: Maker, factors: tuple[Subspace, ...]) -> list[Edit]:
        return edits_of_run(self.arguments, materials, factors, self.start.roles)

    def _certify(self, adapter: Path, materials: Maker, factors: tuple[Subspace, ...]) -> None:
        if self.guard == UNGUARDED or (adapter / FILE).exists():
            return
        more = ("scout_steps", "scouts", "rounds", "own_rows", "own_tokens")
        recorded = (*self.start.settings.to_dict(), *more, *(name for name in BESIDE if self.arguments[name]))
        edit, *_ = self._edits(materials, factors)  # what is promised is the first's
        base, tokenizer = self.start.reference.plain()
        settings, data = {k: self.arguments[k] for k in recorded}, self.start.data.path
        certify(adapter, base, edit, settings=settings, data=data, tokenizer=tokenizer, start=self.arguments["from_"])

    def _measure(
        self, seen: Seen, naive: Path, adapter: Path
    ) -> tuple[dict[str, Any], dict[str, Mapping[str, Report]]]:
        """Scores and axes on held-out rows and on own text that no guard has seen."""
        factors: tuple[Subspace, ...] = seen.materials.get("factor")
        middle = factors[len(factors) // 2]
        shift = self.stages.shift(seen.scouts[0], seen.text, middle)
        scores = {
            name: self.stages.score(folder, self.start.held_out, seen.fresh, middle, shift)
            for name, folder in (("base", None), (self.reference, naive), (self.guard, adapter))
        }
        return scores, {n: four_axes(s, base=scores["base"], naive=scores[self.reference]) for n, s in scores.items()}

    def _leak(self, adapter: Path, factors: tuple[Subspace, ...]) -> dict[str, Report]:
        base = self.start.reference.load()[0]
        return leakage(Adapter.read(adapter, base), base, factors, roles=self.start.roles)

    def _notes(self, seen: Seen, axes: Mapping[str, Mapping[str, Report]]) -> tuple[str, ...]:
        steps, drift = self.start.settings.steps, axes[self.guard]["drift"].value
        notes = [*self.start.notes, *seen.notes, *self.stages.notes, *self.stages.history.notes(steps)]
        if self.reference == "scout" and drift > TOO_MANY:
            notes.append(
                f"drift is {drift:.3g} times the scout's"
                f"{'' if self.start.scout else f', which had {self._short.steps} of the {steps} steps'}: too small a unit to "
                "judge by. --twin compares with an unguarded run of all steps"
            )
        return tuple(notes)
