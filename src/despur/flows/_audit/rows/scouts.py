"""The tunes behind an audit of rows, each made once and stored: the shuffled scout, the same of the base's own answers, a plain tune."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from despur.core import Store, digest, read_json, write_json
from despur.core.model.own_chats import ETA
from despur.core.model.sample import continue_rows
from despur.core.model.states import as_base
from despur.core.run.scout_forms import Form, load_scout, new_scout, save_scout
from despur.core.run.short_tune import short_tune
from despur.core.text.chat import has_template
from despur.core.text.rows import Tokens
from despur.core.text.shuffle import last_answer, shuffled_rows
from despur.flows._audit.rows.given import Given, Scouting, answered
from despur.flows.progress import Progress

_TOGETHER = 32  # prompts that are answered in one batch


@dataclass(frozen=True)
class Scouts:
    """Makes what the audit compares.

    Args:
        base: The base.
        tokenizer: Its tokenizer.
        given: The rows.
        how: Steps, rate, form.
        store: Where each tune is kept.
        facts: What all of them depend on, as JSON.
        seed: Of exchanges, draws and starts.
        progress: Called after every step.
    """

    base: Any
    tokenizer: Any
    given: Given
    how: Scouting
    store: Store
    facts: Mapping[str, Any]
    seed: int
    progress: Progress

    def scout(self) -> Path:
        """The shuffled scout of the rows."""
        rows = shuffled_rows(self.given.learned, seed=self.seed, within=self.how.within, groups=self.given.groups)
        return self._tuned("scout", rows, self.how.scout_form, {"data": self.given.digest})

    def plain(self) -> Path:
        """A plain tune of equal length: what would be learned by just training."""
        return self._tuned("plain", self.given.learned, "lora", {"data": self.given.digest})

    def null(self) -> Path:
        """The shuffled scout of the base's own answers to the same prompts."""
        learned, _ = self.own()
        rows = shuffled_rows(learned, seed=self.seed, within=self.how.within, groups=self.given.groups)
        return self._tuned("null", rows, self.how.scout_form, {"own": digest(learned)})

    def own(self) -> tuple[list[Tokens], list[Tokens]]:
        """The learned and the scored rows, with the base's own answers in place of theirs, and no longer than those."""
        n, parts = len(self.given.learned), [last_answer(row) for row in (*self.given.learned, *self.given.scored)]
        prompts, lengths = [p for p, _ in parts], [min(self.how.answer_tokens, len(a)) for _, a in parts]

        def make(out: Path) -> None:
            order = sorted(range(len(parts)), key=lambda i: (lengths[i], len(prompts[i])))
            answers: dict[int, list[int]] = {}
            eta = ETA if has_template(self.tokenizer) else 0.0
            with as_base(self.base) as base:
                for at in range(0, len(order), _TOGETHER):
                    self.progress("own answers", at, len(order), {})
                    some = order[at : at + _TOGETHER]
                    heads, new = [prompts[i] for i in some], max(lengths[i] for i in some)
                    written = continue_rows(base, self.tokenizer, heads, new, seed=self.seed + at, eta=eta)
                    answers |= {i: answer[: lengths[i]] for i, answer in zip(some, written, strict=True)}
            self.progress("own answers", len(order), len(order), {})
            write_json(out / "answers.json", [answers[i] for i in range(len(parts))])

        spec = {**self.facts, "prompts": prompts, "lengths": lengths}
        answers = read_json(self.store.step("own", spec, make) / "answers.json")
        rows = [answered(p, a) for p, a in zip(prompts, answers, strict=True)]
        return rows[:n], rows[n:]

    def _tuned(self, name: str, rows: Sequence[Tokens], form: Form, spec: Mapping[str, Any]) -> Path:
        how = self.how

        def make(out: Path) -> None:
            model = new_scout(self.base, form=form, rank=how.scout_rank, seed=self.seed)
            short_tune(
                model, rows, steps=how.scout_steps, lr=how.scout_lr, batch=how.scout_batch, seed=self.seed,
                after_step=lambda step, loss: self.progress(name, step, how.scout_steps, {"loss": loss}),
            )  # fmt: skip
            save_scout(model, out)

        settings = [how.scout_steps, how.scout_lr, how.scout_batch, how.scout_rank, form, how.within, how.group_by]
        return self.store.step(name, {**self.facts, **spec, "settings": settings}, make)

    def load(self, folder: Path) -> Any:
        """The base with a stored tune on."""
        return load_scout(self.base, folder)
