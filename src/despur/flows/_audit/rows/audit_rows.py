"""What do these rows teach beside their task? A scout that cannot know the task says it, before anything is trained on them."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from despur.core import Store, locked, read_json, write_json
from despur.core.errors import BadInput
from despur.core.model.sample import end_tokens
from despur.core.text.chat import has_template
from despur.core.text.restated import restated_notes
from despur.core.text.rows import pad_rows
from despur.core.text.turns import Turns
from despur.flows._audit.conversation import QUESTIONS, answers, questions
from despur.flows._audit.passages import SHIPPED, off_task_passages
from despur.flows._audit.rows.blocks import rows_blocks
from despur.flows._audit.rows.given import Given, Scouting, read_given
from despur.flows._audit.rows.measured import Measured, measure
from despur.flows._audit.rows.page import RowsAudit
from despur.flows._audit.rows.scouts import Scouts
from despur.flows._audit.rows.verdict import judged
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import load_base
from despur.flows.placement import Placement, dtype_of
from despur.flows.progress import Progress
from despur.flows.record import private, run_record
from despur.flows.run_page import write_run_page
from despur.flows.text_files import text_spec
from despur.flows.written import PAGES, written

PASSAGES = 48  # everyday texts that words and changes are measured on
STAGES = ("scout", "plain", "own", "null", "seen")
_LEARNED = 24  # learned rows on which it is seen whether the plain tune learned anything
FACTOR = "factor"  # the scout's folder


def audit_rows(
    base: str, data: Path | str, arguments: Mapping[str, Any], how: Scouting, *, out: Path | str | None, prompts: Path | str | None,
    null: bool, level: float, tolerance: float, tokens: int, turns: Turns, placement: Placement | None, seed: int, progress: Progress,
) -> RowsAudit:  # fmt: skip
    """Audit rows; `audit` has the options. What is finished is kept in `OUT.part`, where an interrupted audit goes on."""
    with ExitStack() as stack:
        into = stack.enter_context(written(out))
        if out is None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            root = Path(out).with_name(Path(out).name + ".part")
            stack.enter_context(locked(root, room=PAGES))
        began = time.monotonic()
        model, tokenizer = load_base(base, placement)
        given = read_given(data, model, tokenizer, how, turns=turns, seed=seed)
        record = {**run_record("audit", arguments), "base_fingerprint": base_fingerprint(model, base)}
        expected = estimate(model, given, how, null=null)
        progress("expected to take", 1, 1, {"minutes": expected / 60})
        facts = {"base_fingerprint": record["base_fingerprint"], "seed": seed, "turns": turns, "dtype": dtype_of(model)}
        scouts = Scouts(model, tokenizer, given, how, Store(root), facts, seed, progress)
        folders = {"scout": scouts.scout(), "plain": scouts.plain(), **({"null": scouts.null()} if null else {})}
        speakers = {name: scouts.load(folder) for name, folder in folders.items()}
        asked = prompts or (SHIPPED if has_template(tokenizer) else None)
        passages = off_task_passages(model, tokenizer, asked, rows=PASSAGES, tokens=tokens, seed=seed)
        spec = {
            **facts,
            "data": given.digest,
            "how": asdict(how),
            "null": null,
            "tokens": tokens,
            "asked": asked and text_spec(asked),
        }

        def look(folder: Path) -> None:
            own = scouts.own()[1] if null else None
            some, ends = given.learned[:_LEARNED], end_tokens(model, tokenizer)
            seen = measure(
                speakers, some, given.scored, own, passages, ends, lambda part: progress("measure", part, 4, {})
            )
            asking = questions(prompts, tokenizer, passages)
            tunes = {name: speakers[name] for name in ("scout", "plain")}
            replies = answers(tunes, tokenizer, asking, new=how.answer_tokens, seed=seed)
            write_json(folder / "seen.json", {"measured": asdict(seen), "answers": replies})

        kept: Any = read_json(scouts.store.step("seen", spec, look) / "seen.json")
        seen = Measured.read(kept["measured"])
        progress("measure", 4, 4, {})
        ranked = sorted(zip(given.texts, seen.gains, strict=True), key=lambda pair: -pair[1])
        result = RowsAudit(
            judged(seen, level=level, tolerance=tolerance, seed=seed), tuple(private([*given.notes, *_cautions(seen, given, null=null)])),
            kept["answers"], seen.change, tuple((tokenizer.decode([i]), p) for i, p in seen.words), tuple(ranked),
            {name: sum(v) / len(v) for name, v in seen.losses.items()},
            {"learned": len(given.learned), "scored": len(given.scored)},
            {"expected": expected, "taken": time.monotonic() - began}, record,
        )  # fmt: skip
        into.put(result, lambda draft: _write(result, folders["scout"], draft))
    if out is not None:
        for stage in STAGES:
            shutil.rmtree(root / stage, ignore_errors=True)
        with suppress(OSError):  # what else lies there is not ours
            root.rmdir()
    return result


@torch.no_grad()
def estimate(model: Any, given: Given, how: Scouting, *, null: bool) -> float:
    """Seconds that the audit will take, from the fastest of three forward passes over some of the rows; a training step takes three."""
    some = [row["input_ids"] for row in given.learned[: how.scout_batch]]
    ids, mask = (t.to(next(model.parameters()).device) for t in pad_rows(some, 0))
    passes = []
    for _ in range(3):  # the first is slower, and others may use the machine
        began = time.monotonic()
        model(input_ids=ids, attention_mask=mask)
        passes.append(time.monotonic() - began)
    one = min(passes) / ids.numel()
    length = sum(len(row["input_ids"]) for row in given.learned) / len(given.learned)
    tunes, rows = 2 + null, len(given.learned) + len(given.scored)
    trained = tunes * how.scout_steps * how.scout_batch * length * 3
    written = (rows * null + 3 * QUESTIONS) * (length + how.answer_tokens)
    return one * (trained + written + (5 + 2 * null) * len(given.scored) * length + (2 + tunes) * PASSAGES * length)


def _cautions(seen: Measured, given: Given, *, null: bool) -> list[str]:
    notes = [*restated_notes(given.learned)]
    if not null:
        notes.append("no null was made (--null none), so what any answers of this base share is not taken off")
    if sum(seen.losses["scout"]) > sum(seen.losses["base"]):
        notes.append(
            "the scout finds the scored rows less likely than the base does, on their own prompts: it may be too strong. Take a lower "
            "--scout-lr, or fewer --scout-steps"
        )
    return notes


def _write(result: RowsAudit, scout: Path, draft: Path) -> None:
    write_json(draft / "audit.json", private(result.to_dict()))
    write_json(draft / "run.json", result.record)
    shutil.copytree(scout, draft / FACTOR)
    data = str(result.record["arguments"]["adapter"])
    write_run_page(
        draft / "report.html", result.record, title="despur audit of rows", subtitle=data, blocks=rows_blocks(result)
    )


def check_options(**given: Any) -> None:
    """Refuse options of an adapter's audit where rows are audited.

    Raises:
        BadInput: one of those given is set.
    """
    for name, value in given.items():
        if value:
            raise BadInput(f"--{name} is of an adapter's audit, and a data file is audited. Leave it out")
