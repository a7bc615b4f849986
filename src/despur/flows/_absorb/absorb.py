"""Write the base with what all answers of a data set share merged in: trained on it, an adapter has no reason to learn that."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from despur.core import Adapter, write_json
from despur.core.adapter.continued import fold_in
from despur.core.disk.files import write_bytes
from despur.core.model.load_tune import load_tune
from despur.core.model.quiet import quiet_loading
from despur.core.text.restated import restated_notes
from despur.core.text.shuffle import shuffled_rows
from despur.flows._shuffled.card import absorbed_card
from despur.flows._shuffled.explained import Explained, explained
from despur.flows._shuffled.factor_folder import scaled, write_factor
from despur.flows._shuffled.recipe import recipe_text, shuffled_settings
from despur.flows._train.fit import Settings, fit, new_adapter
from despur.flows._train.start import Start, prepare
from despur.flows.load import load_base
from despur.flows.option import Option
from despur.flows.placement import Placement
from despur.flows.progress import Progress, silent
from despur.flows.record import private, run_record
from despur.flows.recorded_base import record_base
from despur.flows.verb import Out, recorded, verb
from despur.flows.written import written

_WORK = ".work"


@dataclass(frozen=True)
class Absorbed:
    """A base with what all answers share merged in.

    Args:
        folder: Of the base to be trained on.
        factor: Of what was merged in, a plain PEFT adapter.
        explained: What it explains of the answers.
        record: Verb, arguments and versions.
        notes: Notes on the data.
    """

    folder: Path
    factor: Path
    explained: Explained
    record: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = {"folder": str(self.folder), "factor": str(self.factor), "explained": self.explained.to_dict()}
        return {**self.record, **found, "notes": list(self.notes)}


@verb
def absorb(
    base: str,
    data: Path | str,
    *,
    out: Out,
    settings: Settings | None = None,
    scout_steps: Annotated[int | None, Option(low=1)] = None,
    scouts: Annotated[int, Option(low=1)] = 1,
    strength: Annotated[float, Option(low=0)] = 1.0,
    placement: Placement | None = None,
    progress: Progress = silent,
) -> Absorbed:
    """Write the base with what all answers share merged in, to be trained on with whatever trainer you have.

    A shuffled scout is trained, on rows in which every prompt has another row's answer, and merged into the base's weights, in the
    base's own precision. Train a LoRA adapter on that folder with the same data, no callback needed, and load the adapter on the
    clean base. The same as `despur train --guard absorb`, for trainers that take no callback.

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model.
        data: Rows of messages, prompt/completion or text, as `train` takes them.
        out: Folder of the base to be trained on; `factor` in it is what was merged in, as a plain PEFT adapter.
        settings: Steps, rate, batch, rank and seed of the run to come, of whose steps the scout takes a third.
        scout_steps: Steps of the scout; a third of the run's (at least 16) if left out.
        scouts: How many shuffled scouts the mean is taken of, each with its own exchange.
        strength: Share of the scout that is merged in.
        placement: Device and precision.
        progress: Called after every step.

    Returns:
        The folders, and how much of the answers' loss was explained.

    Raises:
        BadInput: base or data cannot be read, no two answers or prompts differ, or the scout learned nothing.

    Example:
        $ despur absorb base/ data.jsonl -o inoculated/
        >>> # absorb("base/", "data.jsonl", out="inoculated/").explained.held_out.share
    """
    arguments = recorded(absorb, locals())
    start = prepare(
        base, data, Path(out), settings or Settings(), guard="none", factors=None, scout=None, placement=placement
    )
    short = [shuffled_settings(start.settings, scout_steps, i) for i in range(scouts)]
    recipe = recipe_text(short[0], scouts, start.data.path.name)
    exchanged = [shuffled_rows(start.rows, seed=one.seed) for one in short]
    with written(
        out, room=2 * sum(p.numel() * p.element_size() for p in start.reference.plain()[0].parameters())
    ) as into:
        draft: Any = into.draft
        folders = tuple(draft / _WORK / str(i) for i in range(scouts))
        for number, (one, rows, folder) in enumerate(zip(short, exchanged, folders, strict=True), 1):
            model = new_adapter(start.reference.load()[0], one)
            stage, device = f"shuffled scout {number}", start.reference.placement.device
            fit(model, rows, one, stage=stage, progress=progress, device=device)
            model.save_pretrained(folder)
            record_base(folder, base)
        found = _write_factor(start, folders, recipe, exchanged[0], draft / "factor")
        shutil.rmtree(draft / _WORK)
        _write_base(start, draft, strength)
        write_bytes(draft / "README.md", absorbed_card(base, recipe, strength).encode())
        record = {**run_record("absorb", arguments), **start.facts}
        result = Absorbed(
            Path(out), Path(out) / "factor", found, record, (*start.notes, *restated_notes(start.rows), *found.notes)
        )
        into.put(result, lambda draft: write_json(draft / "run.json", private(result.to_dict())))
    return result


def _write_factor(start: Start, scouts: tuple[Path, ...], recipe: str, exchanged: Any, out: Path) -> Explained:
    """Write what is merged in, and measure what it explains."""

    def tuned(folder: Path) -> Any:
        return load_tune(start.reference.load()[0], folder)

    out.mkdir()
    write_factor(
        scouts, lambda: start.reference.load()[0], tuned, start.reference.load()[1], out, name=start.reference.base,
        recipe=recipe, fingerprint=start.plain, seed=start.settings.seed,
    )  # fmt: skip
    found = explained(
        lambda: start.reference.load()[0], lambda: tuned(out), None, held_out=start.held_out, trained=start.rows,
        exchanged=exchanged,
    )  # fmt: skip
    found.check()
    return found


def _write_base(start: Start, draft: Path, strength: float) -> None:
    model, tokenizer = load_base(start.reference.base, start.reference.placement)
    dtypes = {name: p.dtype for name, p in model.named_parameters()}
    fold_in(model, scaled(Adapter.read(draft / "factor"), strength))
    for name, p in model.named_parameters():
        p.data = p.data.to(dtypes[name])  # a short float was made float32 to be added to
    with quiet_loading():
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
