"""Repair a finished adapter without touching it: the base's keys and values of the chat template's prefix, for the cache."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from despur.core import Report, write_json
from despur.core.model.key_values import key_values
from despur.core.model.states import base_now
from despur.core.text.template import Template
from despur.flows._audit.passages import off_task_passages
from despur.flows._clean.cleaned import Cleaned
from despur.flows._clean.page import TONES, word_of
from despur.flows._clean.weights import Work
from despur.flows.axes import axes_table
from despur.flows.record import private, run_record
from despur.flows.run_page import write_run_page
from despur.measure import patch_shares, task_kept
from despur.report import Text, Verdict

FILE = "prefix.safetensors"
USE = (
    "The adapter is as it came. The repair is the file prefix.safetensors beside it: load it into a DynamicCache and give that as "
    "past_key_values to generate (five lines in docs/clean.md). It acts in chats that begin with this very prefix; a system "
    "prompt of your own is another one. To hold the prefix while training, take the guard hold-prefix."
)


def measured(work: Work, arguments: Mapping[str, Any]) -> Cleaned:
    """Measure what is left of drift and task with the base's prefix, beside as many other positions.

    Raises:
        BadInput: the base has no chat template, or text and data are no chats of it.
        CannotAttach: the model caches no keys and values.
    """
    a = arguments
    template = Template.of(work.tokenizer)
    work.load_data(a["data"], a["turns"])
    work.progress("text", 0, 1, {})
    text = off_task_passages(
        work.model, work.tokenizer, a["prompts"], rows=a["rows"], tokens=a["max_new_tokens"], seed=a["seed"] + 1000
    )
    work.progress("measure", 0, 1, {})
    begins = [start + 1 for start in text.starts]
    undone = patch_shares(work.model, text.rows, begins, template, seed=a["seed"])["prefix"]
    left = {name: getattr(undone, name) for name in ("value", "low", "high", "control")}
    axes = {name: {"drift": _report(undone, "drift", **ends)} for name, ends in (
        ("base", dict.fromkeys(left, 0.0)), ("adapter", dict.fromkeys(left, 1.0)),
        ("cleaned", {"value": 1 - left["value"], "low": 1 - left["high"], "high": 1 - left["low"], "control": 1 - left["control"]}),
        ("random", dict.fromkeys(left, 1 - left["control"])),
    )}  # fmt: skip
    if work.held_out:
        kept = task_kept(work.model, work.held_out, template, seed=a["seed"])
        for name, value in (("base", 0.0), ("adapter", 1.0), ("random", kept.control)):
            axes[name]["task"] = _report(kept, "task", value=value, low=value, high=value, control=value)
        axes["cleaned"]["task"] = replace(kept, name="task")
    word, sentence = _judged(axes, len(template.prefix))
    record = {**run_record("clean", a), "base_fingerprint": work.fingerprint}
    return Cleaned(word, sentence, None, (), axes, {}, {}, tuple(work.notes), record)


def _report(like: Report, name: str, **figures: Any) -> Report:
    return replace(like, name=name, unit="share of the adapter's", higher_is_better=name == "task", **figures)


def _judged(axes: Mapping[str, Mapping[str, Report]], tokens: int) -> tuple[str, str]:
    own = axes["cleaned"]
    sentence = (
        f"with the base's keys and values on the {tokens} tokens before the user's words {own['drift'].value:.2f} "
        f"[{own['drift'].low:.2f}, {own['drift'].high:.2f}] of the adapter's drift is left, with those of as many other positions "
        f"{own['drift'].control:.2f}"
    )
    if "task" in own:
        sentence += f"; of its task {own['task'].value:.2f} and {own['task'].control:.2f}"
    return word_of(own["drift"]), sentence


def write(result: Cleaned, work: Work, draft: Path) -> None:
    """Write the adapter with the prefix beside it, and what was measured."""
    source, folder = work.folder, draft / "adapter"
    shutil.copytree(source, folder)
    template = Template.of(work.tokenizer)
    ids = torch.tensor([template.prefix], device=next(work.model.parameters()).device)
    with base_now(work.model) as base:
        found = key_values(base, ids)
    tensors = {
        f"{kind}.{i}": t.cpu().contiguous()
        for i, pair in found.items()
        for kind, t in zip(("keys", "values"), pair, strict=True)
    }
    about = {"format": "pt", "prefix": json.dumps(template.prefix), "base_fingerprint": work.fingerprint}
    save_file(tensors, folder / FILE, metadata=about)
    write_json(draft / "clean.json", private(result.to_dict()))
    write_json(draft / "run.json", dict(result.record))
    note = (
        "base = 0 and the adapter = 1. Random: the base's keys and values on as many other positions of the same rows."
    )
    blocks = [
        Verdict(result.verdict, result.sentence, TONES[result.verdict]),
        Text("How to use it", USE),
        *([Text("Not verified", "\n\n".join(result.notes))] if result.notes else []),
        axes_table("What stays", result.axes, ("task", "drift"), note),
    ]
    write_run_page(
        draft / "report.html",
        result.record,
        title="despur clean --prefix",
        subtitle=private(str(source)),
        blocks=blocks,
    )
