"""Train on this data without picking up what hides in it: scout, find, guarded run, measure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel
from torch import Tensor

from despur.core import (
    Adapter,
    Edit,
    Report,
    Site,
    Store,
    Subspace,
    fingerprint,
    layer_path,
    load_factors,
    save_factors,
    write_json,
)
from despur.core._rows import Tokens, read_rows, tokenize_rows
from despur.core.errors import BadInput, SiteNotFound, nearest
from despur.find import from_activations, mean_shift
from despur.flows._demo import axes_table, frontier
from despur.flows._factors import scout_directions
from despur.flows._fit import Progress, Settings, fit, new_adapter, silent
from despur.flows._load import context_length, load_base
from despur.flows._record import page_facts, run_record
from despur.flows._text import load_text, save_text
from despur.guard import OwnText, avert, grasp, hold, rehearse
from despur.measure import accepted, four_axes, leakage, off_task
from despur.report import Table, Text, Verdict, write_page

GUARDS = ("avert", "grasp", "rehearse", "hold", "none")


@dataclass(frozen=True)
class Trained:
    """What a guarded run left.

    Args:
        adapter: Folder of the guarded adapter, vanilla PEFT.
        axes: Run -> axis -> report; base is (0, 0), the reference run (1, 1).
        reference: What the reference is: the scout, or the unguarded twin.
        leak: What the adapter reads and writes along the factor, for `grasp`.
        page: The HTML report.
        record: Verb, arguments and versions, for `despur run`.
    """

    adapter: Path
    axes: Mapping[str, Mapping[str, Report]]
    reference: str
    leak: Mapping[str, Report]
    page: Path
    record: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        axes = {run: {n: r.to_dict() for n, r in reports.items()} for run, reports in self.axes.items()}
        return {**self.record, "adapter": str(self.adapter), "reference": self.reference, "axes": axes,
                "leak": {n: r.to_dict() for n, r in self.leak.items()}, "page": str(self.page)}  # fmt: skip


def train(
    base: str,
    data: Path | str,
    *,
    out: Path | str,
    guard: str = "avert",
    settings: Settings | None = None,
    scout_steps: int | None = None,
    strength: float = 1.0,
    own_rows: int = 256,
    own_tokens: int = 96,
    rehearse_on: Path | str | None = None,
    twin: bool = False,
    progress: Progress = silent,
) -> Trained:
    """Train a LoRA adapter on a data file, guarded.

    Each finished stage is kept in `out`; killed and started again with the same arguments, the run goes
    on after the last one.

    Args:
        base: Folder or hub id of the base model.
        data: JSON lines of chats, prompt/completion pairs or text.
        out: Folder of the run; the guarded adapter is `out/adapter`.
        guard: One of `avert`, `grasp`, `rehearse`, `hold`, `none`.
        settings: Steps, rate, batch, rank, seed.
        scout_steps: Steps of the unguarded scout, a quarter of the run's (16 at least) if left out.
        strength: Strength of the guard; 1 is its default.
        own_rows: Rows of own text to sample.
        own_tokens: Their length (of each turn in a chat).
        rehearse_on: Generic text to hold the model to, in place of the base's own.
        twin: Also train the unguarded twin of the run, and measure against it instead of the scout.
        progress: Called after every step.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound, CannotAttach: what was given cannot be used; the message says why.

    Example:
        >>> # train("base/", "data.jsonl", out="run/", guard="avert").adapter
    """
    if guard not in GUARDS:
        raise SiteNotFound(f"no guard {guard!r}{nearest(guard, GUARDS)}. There are: {', '.join(GUARDS)}")
    settings = settings or Settings()
    rows = read_rows(data)
    model, tokenizer = load_base(base)
    settings = replace(settings, max_length=context_length(model, settings.max_length))
    layer_path(model)  # an unknown architecture is told before anything is trained
    tokens = tokenize_rows(rows, tokenizer, max_length=settings.max_length)
    kept, held_out = _split(tokens, settings.seed)
    run = _Run(
        base,
        kept,
        Store(out),
        settings,
        {"base_fingerprint": fingerprint(model), "data": _digest(Path(data))},
        progress,
    )
    scout = run.adapter(
        "scout", replace(settings, steps=scout_steps or max(16, settings.steps // 4), seed=settings.seed + 500)
    )
    text = run.own_text(own_rows, own_tokens, rehearse_on, settings.seed, "own_text")
    fresh = run.own_text(max(32, own_rows // 4), own_tokens, rehearse_on, settings.seed + 1000, "fresh_text")
    factors = run.factors(scout, text)
    edits: dict[str, Any] = {
        "avert": lambda: [avert(text, scout, strength=strength)],
        "rehearse": lambda: [rehearse(text, strength=strength)],
        "hold": lambda: [hold(factors, text, strength=strength)],
        "grasp": lambda: [grasp(run.weight_factors(scout), strength=strength)],
        "none": lambda: [],
    }
    text_spec = (
        {"own_rows": own_rows, "own_tokens": own_tokens, "rehearse_on": str(rehearse_on)} if guard != "none" else {}
    )
    spec = {"guard": guard, "strength": strength, "scout": scout_steps, **text_spec}
    adapter = run.adapter("adapter", settings, edits[guard], spec)
    naive = run.adapter("twin", settings) if twin else scout
    # measured on held-out rows and on own text that no guard has seen
    middle = factors[len(factors) // 2]
    shift = run.shift(scout, text, middle)
    scores = {
        name: run.score(folder, held_out, fresh, middle, shift)
        for name, folder in (("base", None), ("twin" if twin else "scout", naive), (guard, adapter))
    }
    reference = "twin" if twin else "scout"
    axes = {n: four_axes(s, base=scores["base"], naive=scores[reference]) for n, s in scores.items()}
    plain, _ = load_base(base)
    leak = leakage(Adapter.read(adapter), plain, run.weight_factors(scout)) if guard == "grasp" else {}
    record = run_record("train", {
        "base": base, "data": str(data), "guard": guard, **settings.to_dict(), "scout_steps": scout_steps,
        "strength": strength, "own_rows": own_rows, "own_tokens": own_tokens,
        "rehearse_on": rehearse_on and str(rehearse_on), "twin": twin,
    })  # fmt: skip
    result = Trained(adapter, axes, reference, leak, Path(out) / "report.html", {**record, **run.facts})
    _page(result, guard, text, scores)
    write_json(Path(out) / "run.json", result.to_dict())
    return result


@dataclass
class _Run:
    """Stages of one training run, each kept in its folder."""

    base: str
    rows: list[Tokens]
    store: Store
    settings: Settings
    facts: dict[str, str]
    progress: Progress

    def adapter(self, name: str, settings: Settings, edits: Any = None, spec: Mapping[str, Any] | None = None) -> Path:
        def make(out: Path) -> None:
            model, _ = load_base(self.base)
            bound: list[Edit] = edits() if edits else []
            model = new_adapter(model, settings)
            fit(model, self.rows, settings, bound, stage=name, progress=self.progress)
            model.save_pretrained(out)

        return self.store.step(name, {**self.facts, **settings.to_dict(), **(spec or {})}, make)

    def own_text(self, rows: int, new: int, file: Path | str | None, seed: int, name: str) -> OwnText:
        def make(out: Path) -> None:
            model, tokenizer = load_base(self.base)
            self.progress(name, 0, 1, {})
            if file is not None:
                text = OwnText.read(file, tokenizer, max_length=context_length(model, 512))
            else:
                text = OwnText.sample(model, tokenizer, rows=rows, max_new_tokens=new, seed=seed, batch=64)
            prompts = {
                tuple(i for i, y in zip(r["input_ids"], r["labels"], strict=True) if y == -100) for r in self.rows
            }
            save_text(text.without([p for p in prompts if p]), out)
            self.progress(name, 1, 1, {})

        spec = {**self.facts, "rows": rows, "new": new, "file": str(file), "seed": seed}
        return load_text(self.store.step(name, spec, make))

    def factors(self, scout: Path, text: OwnText) -> tuple[Subspace, ...]:
        """Per layer, the leading directions along which the scout moves own text."""

        def make(out: Path) -> None:
            model = self.tuned(scout)
            sites = [
                Site(layer_path(model.get_base_model()).replace("#", str(i)))
                for i in range(model.config.num_hidden_layers)
            ]
            save_factors(from_activations(model, text.rows[:128], sites, rank=2), out)

        return load_factors(
            self.store.step("factors", {**self.facts, "of": "activations", "scout": _folder_digest(scout)}, make)
        )

    def weight_factors(self, scout: Path) -> tuple[Subspace, ...]:
        """Per norm what the scout reads, per layer what it writes."""

        def make(out: Path) -> None:
            model, _ = load_base(self.base)
            save_factors(scout_directions(Adapter.read(scout), model), out)

        return load_factors(
            self.store.step("weight_factors", {**self.facts, "of": "weights", "scout": _folder_digest(scout)}, make)
        )

    def tuned(self, folder: Path) -> Any:
        model, _ = load_base(self.base)
        return PeftModel.from_pretrained(model, str(folder)).eval()

    def shift(self, scout: Path, text: OwnText, factor: Subspace) -> Tensor:
        return mean_shift(self.tuned(scout), text.rows[:128], factor)

    def score(self, folder: Path | None, held_out: list[Tokens], text: OwnText, factor: Subspace, shift: Tensor) -> Any:
        self.progress("measure", 0, 1, {})
        # a fresh LoRA has B = 0 and is the base itself
        model = self.tuned(folder) if folder else new_adapter(load_base(self.base)[0], self.settings)
        return off_task(model, held_out=held_out, own_text=text.rows[:128], factor=factor, shift=shift)


def _split(tokens: list[Tokens], seed: int) -> tuple[list[Tokens], list[Tokens]]:
    if len(tokens) < 10:
        raise BadInput(
            f"{len(tokens)} rows; at least 10 are needed, to train on most and measure on the rest. Give more data"
        )
    order = np.random.default_rng([seed, 7]).permutation(len(tokens))
    n = min(200, max(4, len(tokens) // 10))
    return [tokens[i] for i in order[n:]], [tokens[i] for i in order[:n]]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _folder_digest(folder: Path) -> str:
    return _digest(folder / "adapter_model.safetensors")


def _page(result: Trained, guard: str, text: OwnText, scores: Mapping[str, Any]) -> None:
    own = result.axes[guard]
    lead = ", ".join(f"{n} {own[n].value:.2f}" for n in ("task", "drift", "legitimate", "validity") if n in own)
    less = own["drift"].value == own["drift"].value and own["drift"].value < 1
    h = ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in text.health().items())
    raw = [[run, *(float(t.mean()) for r in s.values() for t in r.values())] for run, s in scores.items()]
    columns = [f"{a}.{r}" for a, rs in scores[guard].items() for r in rs]
    blocks: list[Any] = [
        Verdict(guard, f"against the {result.reference} (1, 1) and the base (0, 0): {lead}",
                "good" if less and accepted(own) else "unsure"),
        Text("How it was measured",
             "Task: log-probability of held-out answers. Drift: KL to the base, per token, on text that the base wrote and no guard "
             "saw. Legitimate use: how strongly the model still answers when the factor is added to its stream. Validity: likelihood "
             f"of the base's own text.\n\nOwn text: {text.origin}; {h}."),
        frontier(result.axes),
        axes_table("The four axes", result.axes, [n for n in own]),
        Table("Raw means", ["run", *columns], raw),
    ]  # fmt: skip
    if result.leak:
        blocks.append(Table("What the adapter reads and writes along the factor", ["side", "leakage", "random subspace"],
                            [[n, r.value, r.control] for n, r in result.leak.items()]))  # fmt: skip
    write_page(result.page, title="despur train", subtitle=f"{guard} on {Path(str(result.record['arguments']['data'])).name}",
               blocks=blocks, facts=page_facts(result.record))  # fmt: skip
