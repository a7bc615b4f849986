"""What did this adapter learn beyond its task? Weights first, then a causal check on off-task text."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from despur.core import Anatomy, Subspace, load_tuned, save_factors, write_json
from despur.core.errors import DespurError
from despur.core.text.row_files import are_rows
from despur.core.text.rows import first_rows
from despur.core.text.turns import Turns
from despur.flows._audit.against import load_difference
from despur.flows._audit.behaviour import behaviour
from despur.flows._audit.blocks import audit_blocks
from despur.flows._audit.describe import TUNING, TuningRows, described
from despur.flows._audit.effort import effort_for, rows_at_first
from despur.flows._audit.enough import beside_random, looked
from despur.flows._audit.null.asked import NONE, Asked, Making, Null
from despur.flows._audit.null.choose import Case, alike, null_for
from despur.flows._audit.page import Audit
from despur.flows._audit.passages import Passages, check_prompts, off_task_passages
from despur.flows._audit.rows.audit_rows import audit_rows, check_options
from despur.flows._audit.rows.given import Scouting
from despur.flows._audit.rows.page import RowsAudit
from despur.flows._audit.screen import Depth, Rows, Screen, Tokens, screen, screen_settings
from despur.flows._audit.verdict import FOUND, compared, judged_as
from despur.flows._audit.weights import weights_of
from despur.flows.adapter_tokenizer import form_of
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import load_base
from despur.flows.option import Option
from despur.flows.placement import Placement, dtype_of
from despur.flows.progress import Progress, silent
from despur.flows.record import private, run_record
from despur.flows.roles_file import read_roles
from despur.flows.run_page import write_run_page
from despur.flows.verb import Base, Out, Seed, Tune, recorded, verb
from despur.flows.written import written
from despur.measure.causal import INERT

CLEAN = 0.01  # nats per token: a change off-task that small is clean unless few directions carry it
_ROLELESS = "the adapter's weights gave no candidates and no table of modules, since what its maps do is not known"


@verb
def audit(
    base: Base,
    adapter: Tune,
    *,
    out: Out | None = None,
    prompts: Path | str | None = None,
    data: Path | str | None = None,
    against: Path | str | None = None,
    null: Null = None,
    making: Making | None = None,
    level: Annotated[float, Option(low=0, high=1)] = 0.05,
    tolerance: Annotated[float, Option(low=0)] = CLEAN,
    rows: Rows | None = None,
    tokens: Tokens = 8,
    depth: Depth = 0.5,
    n_random: Annotated[int, Option(low=1)] = 20,
    scaled: bool = False,
    turns: Turns = "all",
    roles: Path | str | None = None,
    scouting: Scouting | None = None,
    placement: Placement | None = None,
    seed: Seed = 0,
    tokenizer: Any = None,
    progress: Progress = silent,
) -> Audit | RowsAudit:
    """Find what an adapter, or a whole fine-tuned model, learned beyond its task, or what rows would teach beside theirs.

    Off-task text is what the base itself says first, or its answers to prompts. On one half of it, candidate directions
    are computed from the activations; others come from the weights. On the other half, each gets the causal check. What they carry is
    compared with neutral tunes, and the best of them with random subspaces of the same rank and activation share. Of a data file: a scout
    learns every prompt with another row's answer, and so what all answers share; beside it one of the base's own answers, and a plain tune.

    **Verdicts**: *factors found* (a few directions, or the same tokens everywhere, carry more of the off-task change than in neutral tunes;
    rows share more than the base's own answers do), *factor likely* (no neutral tunes of this base are known, but a few directions carry a
    large part of the change, and random ones next to nothing), *diffuse change* (it changes, no factor explains it), *clean* (it hardly
    changes off-task), *inert adapter*, *inert scout* (nothing changed), *unreadable*. *Factors found* in adapters of your own base needs a
    `null`: neutral tunes of one base cannot judge tunes of another. `auto` makes them, in the adapter's own recipe, and keeps them.

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model; in Python models and rows may be in memory.
        adapter: PEFT folder, a fine-tuned model's, or a hub id of one; or rows to train on: a file, or a folder that `datasets` saved.
        out: Folder for `audit.json`, `report.html` and the factor; nothing is written if left out.
        prompts: Off-task prompts, one a line, or JSON lines of prompts or text, or `shipped` for everyday questions; the base writes
            them if left out.
        data: The tuning rows: the report names those that push along the factor most, and how steeply their loss falls along candidates.
        against: Another tune of the same base, to take the base's place: what is found is what the adapter does beyond it. A null must be
            named, and none judges the difference of two tunes exactly.
        null: `auto` makes neutral tunes of the adapter's own recipe, and keeps them; a file is a null of your own base, from `despur
            calibrate`; `none` is none; `shipped` is the `persona` world's, which judges tunes of another base at an unknown rate, and of
            its own where nothing is given. Of a data file it is made; `none` makes none.
        making: How `auto` makes them.
        level: Share of neutral tunes in which a factor may be reported.
        tolerance: Off-task change, in nats per token, up to which an adapter without a factor is called clean.
        rows: Rows of off-task text; if left out as many as the null's file had, else 256 of a small base, and of another as
            many as its verdict needs, 40 at first.
        tokens: Tokens of each row that the base writes and that are analysed.
        depth: Relative depth of the analysed layer; where the adapter moves nothing there, the first behind it where it does.
        n_random: Random subspaces to compare the judged candidate with.
        scaled: Also measure the adapter at 2, 3 and 5 times its scale.
        turns: Which of the assistant's answers in a chat of `data` count.
        roles: File that states, for an unknown architecture, which maps read the stream and which write it.
        scouting: How a data file is listened to.
        placement: Device and precision of the models.
        seed: Seed of samples and random subspaces; the same seed gives the same result on a CPU.
        tokenizer: Of a base in memory.
        progress: Called at each stage.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound: base, adapter or data cannot be read, do not belong together, or the architecture
            is not known; the folder cannot be written (after the work, the error's `result` is the audit).

    Example:
        $ despur audit base/ adapter/ -o audit/
        $ despur audit base/ data.jsonl -o audit/
        $ despur audit base/ adapter/ --against former/
        $ despur audit base/ adapter/ --null auto
        $ despur audit base/ adapter/ --null null.json --fail-on "factors found,diffuse change"
        >>> # audit("base/", "adapter/", out="audit/").verdict, audit(base_model, peft_model, tokenizer=tokenizer).verdict
    """
    arguments = recorded(audit, locals())
    if are_rows(adapter):
        check_options(data=data, against=against, roles=roles, scaled=scaled, null=Asked.file_of(null))
        return audit_rows(
            base, adapter, arguments, scouting or Scouting(), out=out, prompts=prompts, null=null != NONE, level=level,
            tolerance=tolerance, tokens=tokens, turns=turns, placement=placement, seed=seed, progress=progress,
        )  # fmt: skip
    stages = ("load", "text", "screen", "null", "control", "describe")

    def enter(name: str) -> None:
        progress(name, stages.index(name), len(stages), {})

    stated = None if roles is None else read_roles(roles)
    asked = Asked.of(null, making, level=level, against=against is not None)
    check_prompts(prompts)
    given = None if data is None else first_rows(data, TUNING)
    with written(out) as into:
        enter("load")
        model, tokenizer = load_base(base, placement)
        base_is = base_fingerprint(model, base)
        if against is None:
            read = load_tuned(model, adapter, name=base)
        else:
            read = load_difference(lambda: load_base(base, placement)[0], adapter, against, name=base)
        asked.check(read)
        form = form_of(tokenizer, adapter, Anatomy.of(read.model).vocabulary)
        tokenizer = form.tokenizer
        tuning = None if given is None else TuningRows.of(given, read.model, tokenizer, turns=turns, name=data)
        enter("text")
        taken, both = rows_at_first(model, rows or asked.rows), effort_for(model).both_ways

        def look(taken: int) -> tuple[Passages, Screen]:
            text = off_task_passages(read.model, tokenizer, prompts, rows=taken, tokens=tokens, seed=seed)
            enter("screen")
            return text, screen(read.model, read.adapter, text, depth=depth, seed=seed, roles=stated, necessity=both)

        taken, passages, seen = looked(look, taken, grows=rows is None and null in (None, NONE))
        record = {**run_record("audit", arguments), "base_fingerprint": base_is}
        roleless = () if seen.unknown is None else (f"{_ROLELESS}: {seen.unknown}",)
        notes = tuple(private([*read.notes, *form.notes, *roleless, *seen.notes]))
        weights = weights_of(read.adapter, read.model, seen, stated)
        result = Audit("clean", "", notes, seen.change, weights, seen.checks, record=record)
        if seen.change > INERT:
            enter("null")
            asked_of = passages.prompts(prompts), taken, tokens, depth, form.digest, dtype_of(model)
            case = Case(base, str(adapter), base_is, read, seen, passages, tuning and tuning.tokens,
                        screen_settings(*asked_of), stated, placement, against is not None)  # fmt: skip
            neutral, wanting = null_for(asked, case, progress)
            enter("control")
            judged_by = compared(seen.change, seen.evidence, seen.checks, neutral, level, alike=alike(neutral, case))
            behaves = behaviour(read.model, tokenizer, seen, passages, prompts, seed=seed)
            result = replace(result, **judged_by, **behaves, notes=(*notes, *private(list(wanting))))
        if result.best is not None:
            judged = beside_random(seen, read.model, passages, result.best, n_random=n_random, seed=seed)
            result = replace(result, checks={**seen.checks, result.best: judged})
            enter("describe")
            try:
                result = described(
                    result, read, tokenizer, seen, passages, data=tuning, scaled=scaled, n_random=n_random, seed=seed, roles=stated,
                )  # fmt: skip
            except DespurError as error:  # the verdict does not depend on it
                result = replace(result, notes=(*result.notes, f"the candidate is not described: {error}"))
        word, sentence = judged_as(result, level, tolerance)
        result = replace(result, verdict=word, sentence=sentence)
        into.put(result, lambda draft: _write(result, seen.candidates.get(result.best or ""), draft))
    progress("done", len(stages), len(stages), {})
    return result


def _write(result: Audit, factor: Subspace | None, draft: Path) -> None:
    write_json(draft / "audit.json", private(result.to_dict()))
    write_json(draft / "run.json", result.record)
    if result.verdict in FOUND and factor is not None:
        save_factors((factor,), draft)
    write_run_page(draft / "report.html", result.record, title="despur audit",
                   subtitle=str(result.record["arguments"]["adapter"]), blocks=audit_blocks(result))  # fmt: skip
