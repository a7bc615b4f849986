"""What did this adapter learn beyond its task? Weights first, then a causal check on off-task text."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from despur.core import Adapter, Anatomy, Subspace, fingerprint, load_tuned, new_folder, save_factors, write_json
from despur.core.errors import DespurError
from despur.core.text.turns import Turns
from despur.find import from_adapter
from despur.flows._audit.against import load_difference
from despur.flows._audit.describe import described
from despur.flows._audit.page import Audit, Word, audit_blocks
from despur.flows._audit.passages import SHIPPED, off_task_passages
from despur.flows._audit.screen import Depth, Rows, Screen, Tokens, screen, screen_settings
from despur.flows._audit.structure import structure_of
from despur.flows.adapter_tokenizer import form_of
from despur.flows.load import load_base
from despur.flows.progress import Progress, silent
from despur.flows.record import page_facts, run_record
from despur.flows.roles_file import read_roles
from despur.flows.verb import Option, Out, Seed, recorded, verb
from despur.judge import NeutralNull
from despur.measure import causal_checks
from despur.measure.causal import INERT
from despur.report import write_page

CLEAN = 0.01  # nats per token: a change off-task that small is clean unless few directions carry it
_ROLELESS = "the adapter's weights gave no candidates and no table of modules, since what its maps do is not known"
SPECTRUM = 8  # singular values of a module that are recorded


@verb
def audit(
    base: str,
    adapter: str,
    *,
    out: Out | None = None,
    prompts: Path | str | None = None,
    data: Path | str | None = None,
    against: Path | str | None = None,
    null: Path | str | None = None,
    level: Annotated[float, Option(low=0, high=1)] = 0.05,
    tolerance: Annotated[float, Option(low=0)] = CLEAN,
    rows: Rows = 256,
    tokens: Tokens = 8,
    depth: Depth = 0.5,
    n_random: Annotated[int, Option(low=1)] = 20,
    scaled: bool = False,
    turns: Turns = "all",
    roles: Path | str | None = None,
    seed: Seed = 0,
    progress: Progress = silent,
) -> Audit:
    """Find what an adapter, or a whole fine-tuned model, learned beyond its task: weights first, then a causal check.

    Off-task text is what the base itself says first, or its answers to prompts. On one half of it, candidate directions
    are computed from the activations; others come from the weights. On the other half, each gets the causal check. What
    they carry is compared with neutral tunes, and the best of them with random subspaces of the same rank and
    activation share.

    **Verdicts**: *factors found* (a few directions, or the same tokens everywhere, carry more of the off-task change than
    in neutral tunes), *diffuse change* (it changes, no factor explains it), *clean* (it hardly changes off-task), *inert
    adapter* (it changes nothing), *unreadable*. On your own base, *factors found* needs a `null`: neutral tunes of one
    base cannot judge tunes of another.

    Args:
        base: Folder or hub id of the base model.
        adapter: PEFT adapter folder, or a fine-tuned model's.
        out: Folder for `audit.json`, `report.html` and the factor; nothing is written if left out.
        prompts: Off-task prompts or text as JSON lines, or `shipped` for everyday questions; the base writes them if left out.
        data: The tuning rows: the report names those that push along the factor most, and how steeply their loss falls
            along each candidate at the base.
        against: Another tune of the same base, to take the base's place: what is found is what the adapter does beyond it. No null
            judges the difference of two tunes exactly, so one must be named.
        null: Null of your own base, from `despur calibrate`; without it only the base of the `persona` world is judged.
            `shipped` judges any base by that world's tunes, at an unknown rate.
        level: Share of neutral tunes in which a factor may be reported.
        tolerance: Off-task change, in nats per token, up to which an adapter without a factor is called clean.
        rows: Rows of off-task text.
        tokens: Tokens of each row that the base writes and that are analysed.
        depth: Relative depth of the analysed layer.
        n_random: Random subspaces to compare the judged candidate with.
        scaled: Also measure the adapter at 2, 3 and 5 times its scale.
        turns: Which of the assistant's answers in a chat of `data` count.
        roles: File that states, for an unknown architecture, which maps read the stream and which write it.
        seed: Seed of samples and random subspaces; the same seed gives the same result on a CPU.
        progress: Called at each stage.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound: base or adapter cannot be read, do not belong together, or
            the architecture is not known.

    Example:
        $ despur audit base/ adapter/ -o audit/
        $ despur audit base/ adapter/ --against former/
        $ despur audit base/ adapter/ --null null.json --fail-on "factors found,diffuse change"
        >>> # audit("base/", "adapter/", out="audit/").verdict
    """
    arguments = recorded(audit, locals())
    stages = ("load", "text", "screen", "control", "describe")

    def enter(name: str) -> None:
        progress(name, stages.index(name), len(stages), {})

    enter("load")
    stated = None if roles is None else read_roles(roles)
    neutral = NeutralNull.read(None if null is None or str(null) == SHIPPED else null)
    model, tokenizer = load_base(base)
    base_is = fingerprint(model)
    if against is None:
        read = load_tuned(model, adapter, name=base)
    else:
        read = load_difference(lambda: load_base(base)[0], adapter, against, name=base)
    form = form_of(tokenizer, adapter, Anatomy.of(read.model).vocabulary)
    tokenizer = form.tokenizer
    enter("text")
    passages = off_task_passages(read.model, tokenizer, prompts, rows=rows, tokens=tokens, seed=seed)
    enter("screen")
    seen = screen(read.model, read.adapter, passages, depth=depth, seed=seed, roles=stated)
    record = {**run_record("audit", arguments), "base_fingerprint": base_is}
    wanting = _not_calibrated(neutral, base_is, screen_settings(prompts, rows, tokens, depth, form.digest))
    roleless = () if seen.unknown is None else (f"{_ROLELESS}: {seen.unknown}",)
    notes = (*read.notes, *form.notes, *roleless, *wanting)
    result = Audit(
        "clean",
        "",
        notes,
        seen.change,
        _weights(read.adapter, read.model, seen, stated),
        seen.checks,
        record=record,
    )
    if seen.change > INERT:
        enter("control")
        scores = neutral.scores(seen.change, seen.evidence)
        best = max(seen.checks, key=lambda n: scores.get(n, -1e9))
        _, check = passages.halves()
        judged = causal_checks(
            read.model, check.rows, {best: seen.candidates[best]}, n_random=n_random, starts=check.starts, seed=seed
        )
        result = replace(
            result, checks={**seen.checks, **judged}, best=best, scores=scores, null=neutral.origin,
            p_value=neutral.p_value(seen.change, seen.evidence), token_share=seen.tokens.share,
            token_use=tuple((tokenizer.decode([i]), a, b) for i, a, b in seen.tokens.most(12)),
        )  # fmt: skip
        enter("describe")
        result = described(
            result,
            read,
            tokenizer,
            seen,
            passages,
            data=data,
            turns=turns,
            scaled=scaled,
            n_random=n_random,
            seed=seed,
            roles=stated,
        )
    word, sentence = _judge(
        result,
        level,
        tolerance,
        len(neutral.changes),
        judged=null is not None or (neutral.base == base_is and against is None),
    )
    result = replace(result, verdict=word, sentence=sentence)
    if out is not None:
        _write(result, seen.candidates.get(result.best or ""), Path(out))
    progress("done", len(stages), len(stages), {})
    return result


def _judge(result: Audit, level: float, tolerance: float, neutral: int, *, judged: bool) -> tuple[Word, str]:
    if result.best is None:
        return "inert adapter", f"the adapter changes nothing off-task (KL {result.change:.1e} nats per token)"
    c = result.checks[result.best]
    head = f"off-task the adapter moves the model by {result.change:.3g} nats per token; "
    rank = "no neutral tune shows as much" if result.p_value <= 1.5 / (1 + neutral) else (
        f"{result.p_value:.0%} of neutral tunes show as much"
    )  # fmt: skip
    figures = (
        f"{c.rank} direction{'s' * (c.rank > 1)} at {c.site} ({result.best}) carr{'y' if c.rank > 1 else 'ies'} "
        f"{c.sufficiency:.0%} [{c.interval[0]:.0%}, {c.interval[1]:.0%}] of it, random subspaces at most "
        f"{max(c.random_sufficiency):.0%}, and {result.token_share:.0%} of it is the same in every context"
    )
    if not judged and result.change > tolerance:  # 15 of 19 neutral tunes of another base stood out by the shipped null
        return "diffuse change", (
            f"{head}{figures}. Whether that is more than in neutral tunes of this base cannot be judged without a null for this base"
        )
    if judged and result.p_value <= level and c.beats_random:
        return "factors found", f"{head}{figures}: {rank}"
    if result.change <= tolerance:
        small = f"that is at most the tolerance of {tolerance:g}"
        return "clean", f"{head}{small}" + (", and few directions carry no more of it than in neutral tunes" * judged)
    why = rank if result.p_value > level else f"{rank}, but random subspaces carry as much"
    return "diffuse change", f"{head}no few directions stand out: {figures} ({why})"


def _not_calibrated(null: NeutralNull, base: str, settings: dict[str, Any]) -> list[str]:
    remedy = "To calibrate: despur calibrate BASE NEUTRAL_ADAPTER ... -o null.json, then audit with --null null.json"
    if null.base != base:
        return [
            f"this base has no null (the shipped one: {null.origin}), so the false-positive rate is unknown. {remedy}"
        ]
    other = [
        f"{k}={v!r} (the null's: {null.settings.get(k)!r})" for k, v in settings.items() if null.settings.get(k) != v
    ]
    if other:
        return [f"the false-positive rate was measured with other settings: {', '.join(other)}. {remedy}"]
    return []


def _weights(adapter: Adapter, tuned: Any, seen: Screen, roles: Mapping[str, str] | None = None) -> dict[str, Any]:
    base, cores = tuned.get_base_model(), seen.cores
    shared = {}
    for side in ("read", "write"):
        known = seen.unknown is None
        found = from_adapter(adapter, base, side=side, rank=8, cores=cores, roles=roles) if known else ()
        shared[side] = {"directions": found[0].rank if found else 0, **(dict(found[0].evidence) if found else {})}
    spectra = {n: [float(f"{x:.6g}") for x in c.values[:SPECTRUM].tolist()] for n, c in cores.items()}
    return {
        "modules": len(adapter.updates), "norm": adapter.norm(), "shared": shared, "spectra": spectra,
        "structure": structure_of(adapter, tuned, cores).to_dict(), "kept": dict(adapter.kept), "others": dict(adapter.others),
    }  # fmt: skip


def unreadable(base: str, adapter: str, error: DespurError) -> Audit:
    """The audit of what cannot be read: the error as its sentence."""
    record = run_record("audit", {"base": base, "adapter": adapter})
    return Audit("unreadable", str(error), (), 0.0, {}, {}, record=record)


def _write(result: Audit, factor: Subspace | None, out: Path) -> None:
    with new_folder(out) as draft:
        write_json(draft / "audit.json", result.to_dict())
        write_json(draft / "run.json", result.record)
        if result.verdict == "factors found" and factor is not None:
            save_factors((factor,), draft)
        write_page(draft / "report.html", title="despur audit", subtitle=str(result.record["arguments"]["adapter"]),
                   blocks=audit_blocks(result), facts=page_facts(result.record))  # fmt: skip
