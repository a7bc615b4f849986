"""Train on this data without picking up what hides in it: scout, find, guarded run, measure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from despur.core import locked
from despur.flows._train.beside import check_beside
from despur.flows._train.fit import Settings
from despur.flows._train.guarding import check_choices, guards
from despur.flows._train.history import Looks
from despur.flows._train.inputs import write_config
from despur.flows._train.page import Trained
from despur.flows._train.run import Run
from despur.flows._train.run_folder import ROOM, check_folder, check_place, sweep
from despur.flows._train.start import prepare
from despur.flows.guard_budget import Budget
from despur.flows.option import Option, assignments
from despur.flows.placement import Placement
from despur.flows.progress import Progress, silent
from despur.flows.verb import Base, Data, Out, recorded, verb

GUARDS = guards()
_COURSE, _GUARD = "While it trains", "Scout and guard"


@verb
def train(
    base: Base,
    data: Data,
    *,
    out: Out,
    from_: Path | str | None = None,
    guard: str = "avert",
    guard_options: Annotated[
        Mapping[str, str] | None, Option(read=assignments, panel=_GUARD, metavar="NAME=VALUE,...")
    ] = None,
    beside: Annotated[str | None, Option(panel=_GUARD, metavar="GUARD")] = None,
    beside_options: Annotated[
        Mapping[str, str] | None, Option(read=assignments, panel=_GUARD, metavar="NAME=VALUE,...")
    ] = None,
    settings: Settings | None = None,
    scout_steps: Annotated[int | None, Option(low=1, panel=_GUARD)] = None,
    scout: Annotated[Path | str | None, Option(panel=_GUARD)] = None,
    factors: Annotated[Path | str | None, Option(panel=_GUARD)] = None,
    scouts: Annotated[int, Option(low=1, panel=_GUARD)] = 1,
    rounds: Annotated[int, Option(low=1, panel=_GUARD)] = 1,
    strength: Annotated[float, Option(low=0, panel=_GUARD)] = 1.0,
    guard_budget: Budget = None,
    own_rows: Annotated[int, Option(low=8, panel=_GUARD)] = 192,
    own_tokens: Annotated[int, Option(low=4, panel=_GUARD)] = 48,
    rehearse_on: Annotated[Path | str | None, Option(panel=_GUARD)] = None,
    pairs: Annotated[Path | str | None, Option(panel=_GUARD)] = None,
    trait: Annotated[str | None, Option(panel=_GUARD, metavar="TEXT")] = None,
    roles: Path | str | None = None,
    keep: Annotated[Literal["guarded", "factor"], Option(panel=_GUARD)] = "guarded",
    twin: bool = False,
    placement: Placement | None = None,
    save_every: Annotated[int | None, Option(low=0, panel=_COURSE)] = None,
    eval_every: Annotated[int, Option(low=0, panel=_COURSE)] = 0,
    patience: Annotated[int, Option(low=0, panel=_COURSE)] = 0,
    overwrite: Annotated[bool, Option(recorded=False)] = False,
    tokenizer: Any = None,
    progress: Progress = silent,
) -> Trained:
    """Train on this data without picking up what hides in it: scout, find, guarded run, measure.

    A LoRA adapter is trained with a guard. The run's folder has each finished stage, and checkpoints of the current one:
    started again with the same arguments, an interrupted run continues from there and ends, on a CPU, bit for bit as it
    would have. A folder with a run of other arguments is refused. The axes are measured along the scout's own
    directions, with and without `factors`.

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model; in Python a model in memory, too.
        data: Rows of messages, prompt/completion or text: JSON lines, `.gz` of them, parquet, a folder that `datasets` saved;
            `-` reads them from standard input and saves them in the run's folder. In Python also rows in memory: a list, a
            DataFrame, a `datasets.Dataset`.
        out: Folder of the run; the guarded adapter is `adapter` in it, with its certificate `guard.json`.
        from_: Folder of a plain LoRA adapter to go on with: what the base does with it on is then what the guard keeps, and the figures'
            base. No new reliance is learned beyond the adapter's own, which stays. `adapter` is both in one, of both ranks together.
        guard: Name of the guard, one that `despur ls guard` lists, or none.
        guard_options: The guard's own options besides its strength, as `side=read`; `despur show GUARD` lists them.
        beside: Another guard that acts in the same run; `discount` with a light `rehearse`, say.
        beside_options: Its own options, as `strength=0.1,budget=0.1`.
        settings: Steps, rate, batch, rank, seed.
        scout_steps: Steps of the unguarded scout; a quarter of the run's (at least 16) if left out.
        scout: Folder of an adapter to use as the scout, from an earlier run; none is trained then.
        factors: Folder of an audit, or of factors, or another tool's vectors of layers (`.gguf`, `.pt`), for a guard that takes
            one; the scout's own directions if left out.
        scouts: How many scouts `grasp` learns from, each with its own seed: one scout finds one way to a shortcut, several find more; or
            how many shuffled scouts `discount` and `absorb` take the mean of.
        rounds: How often `grasp` trains; after each round, what its adapter reads and writes most is blocked, too.
        strength: Strength of the guard; 1 is its default.
        guard_budget: Tokens of text that the guard reads for each token of the task, and so the price of a step: `low` makes it a
            tenth dearer. The guard's own default if left out: 0.2 for most, and a step a quarter dearer.
        own_rows: Rows of text that the base writes for the guard.
        own_tokens: Length of that text (of each turn in a chat).
        rehearse_on: Generic text, as rows of data: used in place of the base's own text, and by guards that need some.
        pairs: Paired text for guards that need it: JSON lines, each with texts `with` and `without` the trait.
        trait: A prompt that asks for the trait, for guards that need its name.
        roles: File that states, for an unknown architecture, which maps read the stream and which write it.
        keep: What the adapter is that `discount` and `absorb` end with: `guarded`, without what all answers share, or `factor`,
            with it put back, for a format that is wanted.
        twin: Also train an unguarded run of all steps, and measure against it instead of the scout.
        placement: Device and precision of the models.
        save_every: Steps between checkpoints of a stage; 0 for none. A tenth of a stage of 100 steps or more if left out.
        eval_every: Steps between evaluations, on held-out rows and on own text, saved in `history.json`; 0 for none.
        patience: Evaluations without a lower held-out loss after which a run (not the scout) ends; the best adapter is
            used. 0 trains all steps.
        overwrite: Use a folder that has another run; identical stages of it are reused.
        tokenizer: Of a base in memory.
        progress: Called after every step.

    Raises:
        UnknownName: no such guard.
        BadInput, ShapeMismatch, SiteNotFound, CannotAttach, MissingExtra: an input cannot be used; the message
            says why.

    Example:
        $ despur train base/ data.jsonl -o run/
        $ despur train base/ data.jsonl -o run/ --eval-every 20 --patience 3
        $ despur train base/ data.jsonl -o run/ --guard-budget low
        $ despur train base/ data.jsonl -o run/ --guard discount --beside rehearse --beside-options strength=0.1
        $ despur train base/ data.jsonl -o run/ --guard steer-away --pairs pairs.jsonl
        $ despur train base/ more.jsonl -o on/ --from run/adapter
        $ despur train --resume run/
        $ despur train --config run/config.yaml -o again/
        >>> # train("base/", "data.jsonl", out="run/", guard="avert").adapter
    """
    asked = recorded(train, locals())
    given = {"generic": rehearse_on, "prompt": trait, **dict.fromkeys(("vectors", "stream", "labels"), pairs)}
    check_choices(
        guard, rounds=rounds, scouts=scouts, factors=factors, scout=scout, scout_steps=scout_steps, options=guard_options or {},
        budget=guard_budget, keep=keep, given=given,
    )  # fmt: skip
    check_beside(guard, beside, options=beside_options or {}, given=given)
    looks = Looks(save_every, eval_every, patience)
    looks.check()
    check_place(Path(out))
    with locked(Path(out), room=ROOM):
        start = prepare(
            base,
            data,
            Path(out),
            settings or Settings(),
            guard=guard,
            beside=beside,
            factors=factors,
            scout=scout,
            pairs=pairs,
            trait=trait,
            roles=roles,
            from_=from_,
            placement=placement,
        )
        # as it is run: what came on standard input has a file, and no row is longer than the model takes
        arguments = {**asked, "data": str(start.data.path), **start.settings.to_dict()}
        check_folder(start.out, arguments, start.facts, overwrite=overwrite)
        start.data.keep()
        write_config(start.out, arguments)
        run = Run(start, arguments, looks, progress)
        result = run.all()
        if overwrite:
            sweep(start.out, run.stages.used)
    return result
