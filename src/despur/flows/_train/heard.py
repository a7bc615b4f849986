"""What all answers share, heard before the guarded run, left out of its adapter, and kept as a factor of its own."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from despur.core import read_json, write_json
from despur.core.adapter.peft_folder import tune_digest
from despur.core.text.restated import restated_notes
from despur.core.text.shuffle import shuffled_rows
from despur.flows._shuffled.explained import ROWS, Explained, explained, row_losses, spread
from despur.flows._shuffled.factor_folder import write_both, write_factor
from despur.flows._shuffled.recipe import recipe_text, shuffled_settings
from despur.flows._train.guarding import hears
from despur.flows._train.stages import Stages
from despur.flows._train.start import Start

_FILE = "explained.json"
NEARLY_ALL = 0.97  # of what factor and adapter explain together


@dataclass(frozen=True)
class Heard:
    """The shuffled scouts of a run, and what they explain; each part is made once, as a stage.

    Args:
        stages: The run's stages.
        start: What it starts from.
        steps: Of each shuffled scout; a third of the run's if None.
        number: How many there are.
        alone: Whether no guard acts beside.
        scouts: Their folders.
    """

    stages: Stages
    start: Start
    steps: int | None
    number: int = 1
    alone: bool = True
    scouts: tuple[Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        made = tuple(self.stages.shuffled_scout(self.steps, i) for i in range(self.number))
        object.__setattr__(self, "scouts", made)

    @classmethod
    def of_run(cls, stages: Stages, start: Start, arguments: Mapping[str, Any]) -> "Heard | None":
        """What a run with these arguments needs; None where its guard takes no shuffled scout."""
        if not hears(arguments["guard"]):
            return None
        return cls(stages, start, arguments["scout_steps"], arguments["scouts"], alone=arguments["beside"] is None)

    @property
    def material(self) -> Path | tuple[Path, ...]:
        """As guards take it."""
        return self.scouts if self.number > 1 else self.scouts[0]

    def explained(self, plain: Path) -> Explained:
        """Measure what the scouts explain, beside a plain scout.

        Raises:
            BadInput: they learned nothing.
        """
        stages, start = self.stages, self.start
        factor, seed = self.factor(), shuffled_settings(start.settings, self.steps).seed

        def make(out: Path) -> None:
            found = explained(
                lambda: start.reference.load()[0], lambda: stages.tuned(factor), lambda: stages.tuned(plain),
                held_out=start.held_out, trained=start.rows, exchanged=shuffled_rows(start.rows, seed=seed),
            )  # fmt: skip
            write_json(out / _FILE, found.to_dict())

        spec = {"factor": tune_digest(factor), "scout": tune_digest(plain)}
        found = Explained.of_dict(read_json(stages.step("explained", spec, make) / _FILE))
        found.check(alone=self.alone)
        return found

    def notes(self, plain: Path) -> tuple[str, ...]:
        """What a user should know of the scouts before the guarded run, beside a plain scout."""
        return (*restated_notes(self.start.rows), *self.explained(plain).notes)

    def factor(self) -> Path:
        """The scouts as one plain adapter, with a card and answers."""
        stages, start, s = self.stages, self.start, self.start.settings
        name = start.reference.base
        recipe = recipe_text(shuffled_settings(s, self.steps), self.number, start.data.path.name)
        recipe += ", on the base with another adapter folded in" * start.goes_on

        def make(out: Path) -> None:
            write_factor(
                self.scouts, lambda: start.reference.load()[0], stages.tuned, start.reference.load()[1], out,
                name=name, recipe=recipe, fingerprint=stages.facts["base_fingerprint"], seed=s.seed,
            )  # fmt: skip

        return stages.step("factor", {"scouts": [tune_digest(f) for f in self.scouts], "recipe": recipe}, make)

    def left_out(self, adapter: Path) -> dict[str, dict[str, float]]:
        """Loss of held-out and of trained rows, in nats a token: of the base, with the factor, with the adapter, with both."""
        stages, start, factor = self.stages, self.start, self.factor()

        def make(out: Path) -> None:
            base, _ = start.reference.load()
            with tempfile.TemporaryDirectory() as both:
                write_both(adapter, factor, base, start.reference.base, Path(both))
                models = {"base": None, "factor": factor, "guarded": adapter, "both": Path(both)}
                rows = {"held_out": spread(start.held_out, ROWS), "trained": spread(start.rows, ROWS)}
                losses = {kind: {n: self._loss(f, some) for n, f in models.items()} for kind, some in rows.items()}
            write_json(out / _FILE, losses)

        spec = {"factor": tune_digest(factor), "adapter": tune_digest(adapter)}
        return read_json(stages.step("left_out", spec, make) / _FILE)

    def _loss(self, folder: Path | None, rows: Any) -> float:
        model = self.start.reference.load()[0] if folder is None else self.stages.tuned(folder)
        return float(row_losses(model, rows).mean())

    def kept(self, adapter: Path) -> Path:
        """Adapter and factor as one, for the plain base."""
        base, factor = self.start.reference.plain()[0], self.factor()
        spec = {"adapter": tune_digest(adapter), "factor": tune_digest(factor)}

        def make(out: Path) -> None:
            write_both(adapter, factor, base, self.start.reference.base, out)
            write_json(out / "despur.json", {"base_fingerprint": self.start.plain})

        return self.stages.step("with_factor", spec, make)


def what_was_left_out(losses: Mapping[str, Mapping[str, float]]) -> str:
    """Say in a sentence what share of the loss is the factor's.

    Args:
        losses: As `Heard.left_out` gives them.

    Example:
        >>> what_was_left_out({"held_out": {"base": 4.0, "factor": 3.0, "guarded": 3.4, "both": 2.0}}).partition(" (")[0]
        'what all answers share explains 25% of the loss of held-out answers'
    """
    held = losses["held_out"]
    alone, both = held["base"] - held["factor"], held["base"] - held["both"]
    text = (
        f"what all answers share explains {alone / held['base']:.0%} of the loss of held-out answers (from {held['base']:.3g} to "
        f"{held['factor']:.3g} nats a token) and was left out of the adapter, which takes it to {held['guarded']:.3g} by itself"
    )
    if alone >= NEARLY_ALL * both:
        added = f"To the factor it adds next to nothing ({held['both']:.3g} with both)"
        return f"{text}. {added}: what was learned so far is what all answers share"
    return f"{text}, and to {held['both']:.3g} with the factor back on"
