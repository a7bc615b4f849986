"""What a worker does for a null: write a part of the base's own rows, make a tune, take its figures; each is kept at once."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from despur.core import Adapter, Anatomy, Store, digest, read_json, write_json
from despur.core.errors import BadInput
from despur.core.model.precision import fast_precision
from despur.core.run.scout_forms import load_scout
from despur.flows._audit.null.own_rows import written_rows
from despur.flows._audit.null.tune import Length, neutral_tune, save_tune
from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import screen
from despur.flows.adapter_tokenizer import form_of
from despur.flows.load import SMALL, load_base
from despur.flows.placement import Placement
from despur.flows.progress import Progress


@dataclass(frozen=True)
class Order:
    """What every worker is to know.

    Args:
        base: Folder, GGUF file, hub id or name of the base.
        adapter: Folder of the adapter that is audited, whose tokenizer counts.
        placement: Device and precision of the audit.
        root: Folder of this base's neutral tunes of this recipe.
        options: Of the LoRA.
        size: Of its update.
        prompts: In parts, those that the base answers; None where it asks itself.
        text: Off-task text of the audit.
        depth: Relative depth at which the audit looks.
        roles: For architectures that are not in the table.
        spec: All that rows and tunes depend on, as JSON.
        seen: All that figures depend on beside them, as JSON.
    """

    base: str
    adapter: str
    placement: Placement
    root: Path
    options: dict[str, Any]
    size: float
    prompts: list[list[list[int]]] | None
    text: Passages
    depth: float
    roles: dict[str, str] | None
    spec: dict[str, Any]
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> Length:
        """How long the tunes are."""
        return Length.of(int(self.spec["parameters"]))

    def tune_in(self, number: int) -> Path:
        """Folder of a tune."""
        return self.root / f"tune-{number:02d}"

    def seen_in(self, number: int) -> Path:
        """Folder of a tune's figures, on this text."""
        return self.root / f"seen-{digest(self.seen)[:8]}-{number:02d}"

    def rows_in(self, part: int) -> Path:
        """Folder of a part of the rows."""
        return self.root / f"rows-{part}"


def write_part(order: Order, part: int, progress: Progress) -> None:
    """Let the base write a part of the rows."""

    def make(out: Path) -> None:
        base, tokenizer = _loaded(order, "train")
        prompts = None if order.prompts is None else order.prompts[part]
        write_json(
            out / "rows.json", written_rows(base, tokenizer, prompts, part=order.length.part, seed=10_000 + part)
        )

    Store(order.root).step(order.rows_in(part).name, order.spec, make)
    progress("rows", part, part, {})


def make_tune(order: Order, number: int, parts: int, progress: Progress) -> dict[str, Any]:
    """Make a neutral tune, and give its change and evidence."""
    store = Store(order.root)

    def tune(out: Path) -> None:
        base, _ = _loaded(order, "train")
        began = time.process_time()
        rows = [row for part in range(parts) for row in read_json(order.rows_in(part) / "rows.json")]
        save_tune(
            neutral_tune(
                base, order.options, order.size, rows, length=order.length, seed=number,
                after_step=lambda step, loss: progress("tune", step, order.length.steps, {"number": float(number)}),
            ),
            out,
        )  # fmt: skip
        write_json(out / "took.json", {"seconds": time.process_time() - began})

    def look(out: Path) -> None:
        base, _ = _loaded(order, "look")
        began = time.process_time()
        write_json(out / "figures.json", figures_of(load_scout(base, folder), order))
        write_json(out / "took.json", {"seconds": time.process_time() - began})

    folder = store.step(order.tune_in(number).name, order.spec, tune)
    found = read_json(store.step(order.seen_in(number).name, {**order.spec, **order.seen}, look) / "figures.json")
    if not isinstance(found, dict) or not found.get("evidence"):
        raise BadInput(
            f"neutral tune {number} changes nothing off-task, so it measures nothing. Give a null of your own: --null FILE"
        )
    return found


def figures_of(tuned: Any, order: Order) -> dict[str, Any]:
    """The change and the evidence of a tune, taken as the audit takes the adapter's."""
    seen = screen(tuned, Adapter.of(tuned), order.text, depth=order.depth, roles=order.roles, necessity=False)
    return {"change": seen.change, "evidence": seen.evidence if seen.checks else {}}


_kept: dict[Any, Any] = {}  # bases of this worker


def _loaded(order: Order, use: str) -> tuple[Any, Any]:
    """The base, as `training` has it to train and as the audit has it to look; loaded once."""
    placement = training(order.placement, int(order.spec["parameters"])) if use == "train" else order.placement
    key = ("base", order.base, placement)
    if key not in _kept:
        model, tokenizer = load_base(order.base, placement)
        _kept[key] = (model, form_of(tokenizer, order.adapter, Anatomy.of(model).vocabulary).tokenizer)
    return _kept[key]


def training(placement: Placement, parameters: int) -> Placement:
    """Where and in which precision neutral tunes are trained: of a large base in the one that takes the least time."""
    cuda = placement.device == "auto" and torch.cuda.is_available()
    dtype = placement.dtype
    if dtype == "auto" and parameters > SMALL:
        dtype = fast_precision() if placement.device in ("auto", "cpu") and not cuda else "bfloat16"
    return replace(placement, device="cuda" if cuda else placement.device, dtype=dtype)
