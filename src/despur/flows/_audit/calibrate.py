"""The null of your own base: measure tunes that are known to be neutral once, and compare others with them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from despur.core import Anatomy, digest, load_tuned, locked, read_json, write_json
from despur.core.adapter.peft_folder import tune_digest
from despur.core.disk.files import append_line
from despur.core.errors import BadInput
from despur.flows._audit.effort import rows_at_first
from despur.flows._audit.null.recipe import Recipe, alike
from despur.flows._audit.passages import check_prompts, off_task_passages
from despur.flows._audit.screen import Depth, Rows, Tokens, screen, screen_settings
from despur.flows.adapter_tokenizer import form_of
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import load_base
from despur.flows.option import Option
from despur.flows.placement import Placement, dtype_of
from despur.flows.progress import Progress, silent
from despur.flows.record import private, run_record
from despur.flows.roles_file import read_roles
from despur.flows.verb import Base, Out, Seed, recorded, verb
from despur.flows.written import PAGES
from despur.judge import NeutralNull, neutral


@verb
def calibrate(
    base: Base,
    adapters: Annotated[Sequence[str], Option(rest=True)],
    *,
    out: Out,
    prompts: Path | str | None = None,
    rows: Rows | None = None,
    tokens: Tokens = 8,
    depth: Depth = 0.5,
    roles: Path | str | None = None,
    placement: Placement | None = None,
    seed: Seed = 0,
    tokenizer: Any = None,
    progress: Progress = silent,
) -> NeutralNull:
    """Measure what neutral tunes of a base show by chance, so that an audit has the false-positive rate that it states.

    Each adapter's figures are saved in `OUT.part` at once, by the adapter's content, so that an interrupted run continues there.
    The arguments are written next to the null, into `null.run.json` for `null.json`.

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model; in Python a model in memory, too.
        adapters: Adapters that are known to teach nothing beyond their task; at least 19 for a level of 5 %, 100 make it steady.
        out: File to write, the `null` of later audits.
        prompts: As in an audit; audits that use the null should use the same.
        rows: Rows of off-task text, as in those audits; if left out 256 of a small base, 40 of another.
        tokens: Analysed tokens of each row, as in those audits.
        depth: Relative depth of the analysed layer, as in those audits.
        roles: File that states, for an unknown architecture, which maps read the stream and which write it.
        placement: Device and precision of the models.
        seed: Seed of the samples; the same seed gives the same result on a CPU.
        tokenizer: Of a base in memory.
        progress: Called after every adapter.

    Raises:
        BadInput: too few adapters, the same one twice, or one that changes nothing.

    Example:
        $ despur calibrate base/ neutral/* -o null.json
        >>> # calibrate("base/", sorted(glob("neutral/*")), out="null.json")
    """
    arguments = recorded(calibrate, locals())
    stated = None if roles is None else read_roles(roles)
    if len(set(adapters)) < neutral.FEWEST or len(set(adapters)) < len(adapters):
        raise BadInput(
            f"{len(set(adapters))} different neutral adapters; at least {neutral.FEWEST} are needed for a 5 % level. Train more of them, "
            "each on its own seed"
        )
    out = Path(out)
    part = out.with_name(out.name + ".part")
    beside = out.with_suffix(".run.json")
    contents = {folder: _content(folder) for folder in adapters}
    if twice := [folder for folder, content in contents.items() if list(contents.values()).count(content) > 1]:
        raise BadInput(
            f"the neutral adapters {' and '.join(map(repr, twice[:2]))} are the same one. Leave one of them out"
        )
    _check_files(out, beside, part)
    check_prompts(prompts)
    with locked(out, room=PAGES, file=True):
        model, tokenizer = load_base(base, placement)
        where = base_fingerprint(model, base)
        forms = [form_of(tokenizer, folder, Anatomy.of(model).vocabulary) for folder in adapters]
        if len(every := {form.digest for form in forms}) > 1:
            raise BadInput(
                f"the neutral adapters bring {len(every)} different chat templates, the base's own counted, and a null has one. Calibrate "
                "each group apart, or take the template out of their folders"
            )
        tokenizer = forms[0].tokenizer
        rows = rows_at_first(model, rows)
        passages = off_task_passages(model, tokenizer, prompts, rows=rows, tokens=tokens, seed=seed)
        settings = screen_settings(passages.prompts(prompts), rows, tokens, depth, forms[0].digest, dtype_of(model))
        text = [passages.rows, passages.starts]  # what is measured on, however it came about
        spec = digest(
            {"base": where, "text": text, "depth": depth, "seed": seed, "roles": stated, "dtype": settings["dtype"]}
        )
        known = _read_part(part, spec)
        for i, folder in enumerate(adapters):
            progress("calibrate", i, len(adapters), {})
            if contents[folder] not in known:
                read = load_tuned(load_base(base, placement)[0], folder, name=base)
                seen = screen(read.model, read.adapter, passages, depth=depth, seed=seed, roles=stated, necessity=False)
                if seen.change <= 0:
                    raise BadInput(
                        f"neutral adapter {folder!r} changes nothing off-task, so it measures nothing. Leave it out"
                    )
                figures = known[contents[folder]] = {
                    "change": seen.change, "evidence": seen.evidence,
                    "recipe": Recipe.of(read.adapter, model).to_dict() if read.adapter.kind == "LORA" else {},
                }  # fmt: skip
                append_line(part, json.dumps({"spec": spec, "adapter": contents[folder], **figures}))
        progress("calibrate", len(adapters), len(adapters), {})
        measured = [known[contents[a]] for a in adapters]
        kinds = set.intersection(*(set(s["evidence"]) for s in measured))
        null = NeutralNull(
            tuple(s["change"] for s in measured),
            {k: tuple(s["evidence"][k] for s in measured) for k in sorted(kinds)},
            f"{len(measured)} neutral adapters of {private(base)}",
            where,
            settings,
            alike([s["recipe"] for s in measured]),
        )
        write_json(beside, {**run_record("calibrate", arguments), "base_fingerprint": where})
        null.write(out)
        part.unlink(missing_ok=True)
    return null


def _content(folder: str) -> str:
    """What an adapter is known by; its path, where nothing can be read: what is wrong with it is said when it is loaded."""
    try:
        return tune_digest(Path(folder))
    except OSError:
        return folder


def _check_files(out: Path, beside: Path, part: Path) -> None:
    """Refuse to write over what is no null distribution, or no record of one."""
    if out.is_dir():
        raise BadInput(
            f"{str(out)!r} is a folder, where the file of a null is written. Name one: -o {out / 'null.json'}"
        )
    if out.exists():
        try:
            NeutralNull.read(out)
        except BadInput as error:
            raise BadInput(f"{str(out)!r} is there and is no null distribution. Choose another -o") from error
    if part.is_symlink() or (part.exists() and not part.is_file()):
        raise BadInput(
            f"{str(part)!r} is in the way, and despur did not write it. Move it elsewhere, or choose another -o"
        )
    if beside.exists():
        record = read_json(beside) if beside.is_file() else None
        if not isinstance(record, dict) or record.get("verb") != "calibrate":
            raise BadInput(f"{str(beside)!r} is there and despur did not write it. Choose another -o")


def _read_part(part: Path, spec: str) -> dict[str, dict[str, Any]]:
    """What a former run measured; lines that are damaged, as the last one of a run that was killed, are measured again."""
    done: dict[str, dict[str, Any]] = {}
    for line in part.read_text(encoding="utf-8", errors="replace").splitlines() if part.is_file() else ():
        try:
            record: Any = json.loads(line)
            if record["spec"] == spec:
                evidence = {str(k): float(v) for k, v in record["evidence"].items()}
                done[str(record["adapter"])] = {
                    "change": float(record["change"]),
                    "evidence": evidence,
                    "recipe": dict(record.get("recipe", {})),
                }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return done
