"""Remove confirmed factors from a finished adapter: the cheap post-hoc baseline, measured against its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from despur.core import Report, Subspace, digest, save_factors, write_json
from despur.core.errors import BadInput
from despur.core.text.rows import first_rows
from despur.core.text.turns import Turns
from despur.find import mean_shift
from despur.flows._audit.audit import audit
from despur.flows._audit.passages import check_prompts
from despur.flows._clean import prefix as repair
from despur.flows._clean.cleaned import Cleaned
from despur.flows._clean.controls import middle_factor, placed_random
from despur.flows._clean.page import clean_blocks, judge
from despur.flows._clean.weights import Scores, State, Work, placed_factors, write_adapter
from despur.flows._library.factor_folder import check_base, read_factors
from despur.flows.option import Option
from despur.flows.placement import Placement
from despur.flows.progress import Progress, silent
from despur.flows.record import private, run_record
from despur.flows.roles_file import read_roles
from despur.flows.run_page import write_run_page
from despur.flows.verb import Base, Out, Seed, Tune, recorded, verb
from despur.flows.written import PAGES, size_of, written
from despur.judge import four_axes


@verb
def clean(
    base: Base,
    adapter: Tune,
    *,
    out: Out,
    factors: Path | str | None = None,
    data: Path | str | None = None,
    side: Literal["write", "read", "both"] = "both",
    truncate: Annotated[int | None, Option(low=1)] = None,
    prompts: Path | str | None = None,
    rows: Annotated[int, Option(low=4)] = 96,
    max_new_tokens: Annotated[int, Option(low=1)] = 64,
    prefix: bool = False,
    n_random: Annotated[int, Option(low=1)] = 3,
    turns: Turns = "all",
    roles: Path | str | None = None,
    placement: Placement | None = None,
    seed: Seed = 0,
    tokenizer: Any = None,
    progress: Progress = silent,
) -> Cleaned:
    """Remove confirmed factors from a finished adapter: the cheap baseline, measured against its controls.

    The factors are projected out of the LoRA adapter's update. This happens after training: blocking a direction in the
    weights then does not undo what the update does by other routes. To keep a factor out, train with a guard (`train`).

        B <- (I - V Vᵀ) B   maps that write the stream, V mapped back through the norm behind them, if any
        A <- A (I - V Vᵀ)   maps that read it, V scaled by their norm's gain

    Factors of one site are removed from the whole stream, at every layer; factors of several sites each where it was
    found. The controls: random subspaces of the same ranks and activation shares, and each module's update truncated
    to its leading singular directions.

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model; in Python a model in memory, too.
        adapter: PEFT folder, or hub id, of a plain LoRA adapter; in Python a PEFT model in memory, too.
        out: Folder of the result: `adapter`, the factors, `clean.json`, `run.json`, `report.html`.
        factors: Folder of factors, preferably an audit's; an audit is run if left out (into `audit` of the result).
        data: Rows of the task as JSON lines, preferably not trained on; without them the task is not measured.
        side: Project what writes the stream, what reads it, or both.
        truncate: Singular directions of a module that the truncation keeps; a quarter of its rank if left out.
        prompts: Off-task text as JSON lines; the base's own samples if left out.
        rows: Rows of off-task text.
        max_new_tokens: Length of the samples (of each turn in a chat).
        prefix: Leave the adapter as it is, and put the base's keys and values of the chat template's prefix beside it, for the cache.
        n_random: Random subspaces; the report has their mean.
        turns: Which of the assistant's answers in a chat of `data` count.
        roles: File that states, for an unknown architecture, which maps read the stream and which write it.
        placement: Device and precision of the models.
        seed: Seed of samples and random subspaces; the same seed gives the same result on a CPU.
        tokenizer: Of a base in memory.
        progress: Called at each stage.

    Raises:
        BadInput: base, adapter, factors or data cannot be read, the adapter is not plain LoRA, or the audit confirms nothing.
        UnknownName: no such side.
        ShapeMismatch, SiteNotFound, CannotAttach: they do not belong together.

    Example:
        $ despur clean base/ adapter/ --factors audit/ -o cleaned/
        $ despur clean base/ adapter/ --prefix -o cleaned/
        >>> # clean("base/", "adapter/", factors="audit/", out="cleaned/").axes["cleaned"]["drift"].value
    """
    arguments = recorded(clean, locals())
    stated = None if roles is None else read_roles(roles)
    check_prompts(prompts)
    if prefix and factors is not None:
        raise BadInput("prefix=True and factors were given; the prefix alone is repaired. Leave one of the two out")
    if data is not None:
        first_rows(data, 0)  # what is wrong with it is known before the work, not after
    with written(out, room=PAGES + 2 * size_of(Path(adapter))) as into:
        draft: Any = into.draft
        work = Work(base, adapter, progress, placement, roles=stated)  # what cannot be cleaned is refused at once
        if prefix:
            result = replace(repair.measured(work, arguments), adapter=Path(out) / "adapter")
            into.put(result, lambda draft: repair.write(result, work, draft))
            return result
        if factors is None:
            found = audit(
                base, adapter, out=draft / "audit", prompts=prompts, roles=roles, placement=placement, seed=seed, progress=progress,
            )  # fmt: skip
            if not (draft / "audit" / "factors.json").exists():
                raise BadInput(
                    f"the audit confirms no factor ({found.verdict}: {found.sentence}), so there is nothing to clean. "
                    "Give your own directions: --factors FOLDER"
                )
        given = read_factors(draft / "audit" if factors is None else factors, model=work.model)
        check_base(given.base_fingerprint, work.fingerprint, factors or "audit")
        placed = placed_factors(given.factors, work.width)
        work.load_text(prompts, rows, max_new_tokens, data, seed, turns=turns)
        result = _measure(work, given.factors, placed, arguments, seed)
        result = replace(result, adapter=Path(out) / "adapter")
        into.put(result, lambda draft: _write(result, work, given.factors, draft))
    return result


def _write(result: Cleaned, work: Work, given: tuple[Subspace, ...], draft: Path) -> None:
    adapter, side = result.record["arguments"]["adapter"], result.record["arguments"]["side"]
    folder = draft / "adapter"
    folder.mkdir()
    write_adapter(work.folder, folder, work.cleaned(result.factors, side))
    write_json(folder / "despur.json", {
        "base_fingerprint": work.fingerprint,
        "cleaned": {"factors": _digest(result.factors), "sites": [f.site.module for f in result.factors], "side": side,
                    "ranks": [f.rank for f in result.factors]},
        **({"before": dict(work.before.record)} if work.before.record else {}),
    })  # fmt: skip
    save_factors(given, draft)
    write_json(draft / "clean.json", private(result.to_dict()))
    write_json(draft / "run.json", dict(result.record))
    write_run_page(
        draft / "report.html",
        result.record,
        title="despur clean",
        subtitle=private(adapter),
        blocks=clean_blocks(result),
    )


def _measure(
    work: Work, given: tuple[Subspace, ...], placed: tuple[Subspace, ...], arguments: Mapping[str, Any], seed: int
) -> Cleaned:
    side, keep, draws = arguments["side"], arguments["truncate"], arguments["n_random"]
    middle = middle_factor(given, placed, work.model)
    shift = mean_shift(work.model, work.text[::2], middle)
    randoms = placed_random(work, given, placed, middle.site, draws, seed)
    truncated = f"top {keep}" if keep else "top quarter"
    states: dict[str, list[State]] = {
        "base": [{n: torch.zeros_like(t) for n, t in work.state.items()}],
        "adapter": [work.state],
        "cleaned": [work.cleaned(placed, side)],
        "random": [work.cleaned(subspaces, side) for subspaces in randoms],
        truncated: [work.truncated(keep)],
    }
    scores: dict[str, Scores] = {}
    leak: dict[str, dict[str, Report]] = {}
    for i, (name, drawn) in enumerate(states.items()):
        work.progress("measure", i, len(states), {})
        scores[name] = _mean([work.score(state, middle, shift) for state in drawn])
        if name != "base":
            leak[name] = work.leak(drawn[0], placed)
    work.progress("measure", len(states), len(states), {})
    axes = {
        name: four_axes(s, base=scores["base"], naive=scores["adapter"],
                        control=scores["random"] if name == "cleaned" else None,
                        control_name=f"random subspaces, mean of {draws}" if name == "cleaned" else "none")
        for name, s in scores.items()
    }  # fmt: skip
    means = {
        run: {f"{axis}.{readout}": float(t.mean()) for axis, readouts in s.items() for readout, t in readouts.items()}
        for run, s in scores.items()
    }
    verdict, sentence = judge(axes, truncated)
    record = {**run_record("clean", arguments), "base_fingerprint": work.fingerprint, "factors_digest": _digest(placed)}
    return Cleaned(verdict, sentence, None, placed, axes, leak, means, tuple(work.notes), record)


def _mean(scores: Sequence[Scores]) -> Scores:
    return {axis: {r: torch.stack([s[axis][r] for s in scores]).mean(0) for r in scores[0][axis]} for axis in scores[0]}


def _digest(factors: Sequence[Subspace]) -> str:
    return digest([[f.site.module, f.read.tolist(), f.write.tolist()] for f in factors])
