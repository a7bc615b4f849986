"""The null of your own base: measure tunes that are known to be neutral once, and compare others with them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from despur.core import Anatomy, digest, fingerprint, load_tuned, write_json
from despur.core.errors import BadInput
from despur.flows._audit.passages import off_task_passages
from despur.flows._audit.screen import Depth, Rows, Tokens, screen, screen_settings
from despur.flows.adapter_tokenizer import form_of
from despur.flows.load import load_base
from despur.flows.progress import Progress, silent
from despur.flows.record import run_record
from despur.flows.roles_file import read_roles
from despur.flows.verb import Option, Out, Seed, recorded, verb
from despur.judge import NeutralNull


@verb
def calibrate(
    base: str,
    adapters: Annotated[Sequence[str], Option(rest=True)],
    *,
    out: Out,
    prompts: Path | str | None = None,
    rows: Rows = 256,
    tokens: Tokens = 8,
    depth: Depth = 0.5,
    roles: Path | str | None = None,
    seed: Seed = 0,
    progress: Progress = silent,
) -> NeutralNull:
    """Measure what neutral tunes of a base show by chance, so that an audit has the false-positive rate that it states.

    Each adapter's figures are saved in `OUT.part` at once, so that an interrupted run continues there. The arguments
    are written next to the null, into `null.run.json` for `null.json`.

    Args:
        base: Folder or hub id of the base model.
        adapters: Adapters that are known to teach nothing beyond their task; at least 19 for a level of 5 %, 100 make it steady.
        out: File to write, the `null` of later audits.
        prompts: Off-task prompts or text as JSON lines, or `shipped`; audits that use the null should use the same.
        rows: Rows of off-task text, as in those audits.
        tokens: Analysed tokens of each row, as in those audits.
        depth: Relative depth of the analysed layer, as in those audits.
        roles: File that states, for an unknown architecture, which maps read the stream and which write it.
        seed: Seed of the samples; the same seed gives the same result on a CPU.
        progress: Called after every adapter.

    Raises:
        BadInput: too few adapters, the same one twice, or one that changes nothing.

    Example:
        $ despur calibrate base/ neutral/* -o null.json
        >>> # calibrate("base/", sorted(glob("neutral/*")), out="null.json")
    """
    arguments = recorded(calibrate, locals())
    stated = None if roles is None else read_roles(roles)
    if len(set(adapters)) < 19 or len(set(adapters)) < len(adapters):
        raise BadInput(
            f"{len(set(adapters))} different neutral adapters; at least 19 are needed for a 5 % level. Train more of them, each "
            "on its own seed"
        )
    out = Path(out)
    part = out.with_name(out.name + ".part")
    model, tokenizer = load_base(base)
    where = fingerprint(model)
    forms = [form_of(tokenizer, folder, Anatomy.of(model).vocabulary) for folder in adapters]
    if len(every := {form.digest for form in forms}) > 1:
        raise BadInput(
            f"the neutral adapters bring {len(every)} different chat templates, the base's own counted, and a null has one. Calibrate "
            "each group apart, or take the template out of their folders"
        )
    tokenizer = forms[0].tokenizer
    settings = screen_settings(prompts, rows, tokens, depth, forms[0].digest)
    spec = digest({"base": where, "seed": seed, **settings})
    known = _read_part(part, spec)
    passages = off_task_passages(model, tokenizer, prompts, rows=rows, tokens=tokens, seed=seed)
    for i, folder in enumerate(adapters):
        progress("calibrate", i, len(adapters), {})
        if folder not in known:
            read = load_tuned(load_base(base)[0], folder, name=base)
            seen = screen(read.model, read.adapter, passages, depth=depth, seed=seed, roles=stated)
            if seen.change <= 0:
                raise BadInput(
                    f"neutral adapter {folder!r} changes nothing off-task, so it measures nothing. Leave it out"
                )
            known[folder] = {"change": seen.change, "evidence": seen.evidence}
            with part.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"spec": spec, "adapter": folder, **known[folder]}) + "\n")
    progress("calibrate", len(adapters), len(adapters), {})
    measured = [known[a] for a in adapters]
    kinds = set.intersection(*(set(s["evidence"]) for s in measured))
    null = NeutralNull(
        tuple(s["change"] for s in measured),
        {k: tuple(s["evidence"][k] for s in measured) for k in sorted(kinds)},
        f"{len(measured)} neutral adapters of {base}",
        where,
        settings,
    )
    draft = out.with_name(out.name + ".new")
    null.write(draft)
    write_json(out.with_suffix(".run.json"), {**run_record("calibrate", arguments), "base_fingerprint": where})
    draft.replace(out)
    part.unlink(missing_ok=True)
    return null


def _read_part(part: Path, spec: str) -> dict[str, dict[str, Any]]:
    done: dict[str, dict[str, Any]] = {}
    for line in part.read_text(encoding="utf-8").splitlines() if part.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        if record.get("spec") == spec:
            done[record["adapter"]] = {"change": record["change"], "evidence": record["evidence"]}
    return done
