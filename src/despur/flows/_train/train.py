"""Train on this data without picking up what hides in it: scout, find, guarded run, measure."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from despur.core import Adapter, Store, Subspace, fingerprint, layer_path, write_json
from despur.core.adapter.peft_folder import weights_digest
from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.text.rows import Tokens, tokenize_rows
from despur.flows._train.fit import Settings, lora_targets
from despur.flows._train.history import Looks
from despur.flows._train.inputs import check_choices, given_factors, given_scout, read_data, write_config
from despur.flows._train.page import Trained, write_train_page
from despur.flows._train.run_folder import check_folder, sweep
from despur.flows._train.stages import Stages
from despur.flows._verify.certificate import FILE, factors_digest
from despur.flows._verify.certify import certify
from despur.flows.load import context_length, load_base
from despur.flows.progress import Progress, silent
from despur.flows.record import run_record
from despur.guard import avert, grasp, hold, rehearse
from despur.judge import four_axes
from despur.measure import leakage

GUARDS = ("avert", "grasp", "rehearse", "hold", "none")
TOO_MANY = 3  # of a short scout: more drift than that says more of the scout than of the guard


def train(
    base: str,
    data: Path | str,
    *,
    out: Path | str,
    guard: str = "avert",
    settings: Settings | None = None,
    scout_steps: int | None = None,
    scout: Path | str | None = None,
    factors: Path | str | None = None,
    scouts: int = 1,
    rounds: int = 1,
    strength: float = 1.0,
    own_rows: int = 256,
    own_tokens: int = 96,
    rehearse_on: Path | str | None = None,
    twin: bool = False,
    save_every: int | None = None,
    eval_every: int = 0,
    patience: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Trained:
    """Train a LoRA adapter on rows of data, guarded.

    Each finished stage is kept in `out`, and checkpoints of the one in work; killed and started again with the same
    arguments, the run goes on from there and ends, on a CPU, bit for bit as it would have. A folder that holds a run with
    other arguments is refused. The axes are measured along the scout's own directions, with and without `factors`.

    Args:
        base: Folder or hub id of the base model.
        data: JSON lines or parquet of chats, prompt/completion pairs or text; a folder that `datasets` saved; "-" for
            standard input, which is kept in the run's folder.
        out: Folder of the run; the guarded adapter is `out/adapter`, with its certificate `guard.json`.
        guard: One of `avert`, `grasp`, `rehearse`, `hold`, `none`.
        settings: Steps, rate, batch, rank, seed.
        scout_steps: Steps of the unguarded scout, a quarter of the run's (16 at least) if left out.
        scout: Folder of an adapter to take as the scout; none is trained then.
        factors: Folder of an audit, or of factors, for `grasp` or `hold`; None takes the scout's own directions.
        scouts: How many `grasp` learns from, each with its own seed: one takes one way to a shortcut, several show more.
        rounds: How often `grasp` trains; after each, what its adapter reads and writes most joins what is held.
        strength: Strength of the guard; 1 is its default.
        own_rows: Rows of own text to sample.
        own_tokens: Their length (of each turn in a chat).
        rehearse_on: Generic text to hold the model to, in place of the base's own.
        twin: Also train the unguarded twin of the run, and measure against it instead of the scout.
        save_every: Steps between checkpoints of a stage; 0 for none, None for a tenth of the stage (none below 100 steps).
        eval_every: Steps between evaluations on held-out rows and on own text, kept in `out/history.json`; 0 for none.
        patience: Evaluations without a lower held-out loss after which a run (not the scout) ends; the best adapter is
            taken. 0 trains all steps.
        overwrite: Take a folder that holds another run; of its stages those that are the same are kept.
        progress: Called after every step.

    Raises:
        UnknownName: no such guard.
        BadInput, ShapeMismatch, SiteNotFound, CannotAttach, MissingExtra: what was given cannot be used; the message
            says why.

    Example:
        >>> # train("base/", "data.jsonl", out="run/", guard="avert").adapter
    """
    if guard not in GUARDS:
        raise UnknownName(f"no guard {guard!r}{nearest(guard, GUARDS)}. There are: {', '.join(GUARDS)}")
    check_choices(guard, rounds=rounds, scouts=scouts, factors=factors, scout=scout, scout_steps=scout_steps)
    looks = Looks(save_every, eval_every, patience)
    looks.check()
    settings, out = settings or Settings(), Path(out)
    given = read_data(data, out)
    model, tokenizer = load_base(base)
    settings = replace(settings, max_length=context_length(model, settings.max_length))
    layer_path(model)  # an unknown architecture is told before anything is trained
    lora_targets(model, settings.targets)
    tokens = tokenize_rows(given.rows, tokenizer, max_length=settings.max_length)
    kept, held_out = _split(tokens, settings.seed)
    notes = [*given.notes]
    facts = {"base_fingerprint": fingerprint(model), "data": given.digest[:16]}
    run = Stages(base, kept, Store(out), settings, facts, progress, held_out, looks)
    chosen: tuple[Subspace, ...] = ()
    if factors is not None:
        chosen, said = given_factors(factors, guard, model, facts["base_fingerprint"])
        notes += said
    taken, said = given_scout(scout, model, base) if scout is not None else (None, ())
    notes += said
    arguments: dict[str, Any] = {
        "base": base, "data": str(given.path), "guard": guard, **settings.to_dict(),
        "scout_steps": scout_steps, "scout": scout and str(scout), "factors": factors and str(factors), "scouts": scouts, "rounds": rounds,
        "strength": strength, "own_rows": own_rows, "own_tokens": own_tokens,
        "rehearse_on": rehearse_on and str(rehearse_on), "twin": twin, "save_every": save_every, "eval_every": eval_every,
        "patience": patience,
    }  # fmt: skip
    check_folder(out, arguments, facts, overwrite=overwrite)
    given.keep()
    write_config(out, arguments)
    short = replace(settings, steps=scout_steps or max(16, settings.steps // 4), seed=settings.seed + 500)
    fresh_rows = max(32, own_rows // 4)  # neither guard nor scout sees them
    fresh = run.own_text(fresh_rows, own_tokens, rehearse_on, settings.seed + 1000, "fresh_text")
    run.unseen = fresh
    scouted = taken or run.adapter("scout", short, patient=False)
    text = run.own_text(own_rows, own_tokens, rehearse_on, settings.seed, "own_text")
    found = run.factors(scouted, text)
    more = [
        run.adapter(f"scout_{i + 1}", replace(short, seed=short.seed + 1000 * i), patient=False)
        for i in range(1, scouts)
    ]
    found_for = {"grasp": lambda: run.weight_factors(scouted, *more), "hold": lambda: found}
    held = chosen or found_for.get(guard, tuple)()
    edits: dict[str, Any] = {
        "avert": lambda: [avert(text, scouted, strength=strength)],
        "rehearse": lambda: [rehearse(text, strength=strength)],
        "hold": lambda: [hold(held, text, strength=strength)],
        "grasp": lambda: [grasp(held, strength=strength)],
        "none": lambda: [],
    }
    spec: dict[str, Any] = {
        "guard": guard,
        "strength": strength,
        "scout": weights_digest(taken) if taken else scout_steps,
    }
    if guard != "none":
        spec |= {"own_rows": own_rows, "own_tokens": own_tokens, "rehearse_on": str(rehearse_on)}
    for number in range(1, rounds):
        folder = run.adapter(f"round_{number}", settings, edits[guard], {**spec, "factors": factors_digest(held)})
        held = run.rejoined(held, folder, number + 1)
    if chosen or more or rounds > 1:
        spec["factors"] = factors_digest(held)
    adapter = run.adapter("adapter", settings, edits[guard], spec)
    naive = run.adapter("twin", settings) if twin else scouted
    plain, _ = load_base(base)
    if guard != "none" and not (adapter / FILE).exists():
        said = {
            k: arguments[k] for k in (*settings.to_dict(), "scout_steps", "scouts", "rounds", "own_rows", "own_tokens")
        }
        certify(adapter, plain, held, guard=guard, strength=strength, settings=said, data=given.path)
    # measured on held-out rows and on own text that no guard has seen
    middle = found[len(found) // 2]
    shift = run.shift(scouted, text, middle)
    scores = {
        name: run.score(folder, held_out, fresh, middle, shift)
        for name, folder in (("base", None), ("twin" if twin else "scout", naive), (guard, adapter))
    }
    reference = "twin" if twin else "scout"
    axes = {n: four_axes(s, base=scores["base"], naive=scores[reference]) for n, s in scores.items()}
    leak = leakage(Adapter.read(adapter), plain, held) if guard == "grasp" else {}
    record = {**run_record("train", arguments), **facts}
    notes += [*run.notes, *run.history.notes(settings.steps)]
    if reference == "scout" and axes[guard]["drift"].value > TOO_MANY:
        notes.append(
            f"drift is {axes[guard]['drift'].value:.3g} times the scout's"
            f"{'' if taken else f', which had {short.steps} of the {settings.steps} steps'}: too small a unit to judge by. "
            "--twin measures beside the unguarded run of all steps"
        )
    result = Trained(adapter, axes, reference, leak, out / "report.html", record, tuple(notes), run.history.stages)
    write_train_page(result, guard, text, scores)
    write_json(out / "run.json", result.to_dict())
    if overwrite:
        sweep(out, run.used)
    return result


def _split(tokens: list[Tokens], seed: int) -> tuple[list[Tokens], list[Tokens]]:
    if len(tokens) < 10:
        raise BadInput(
            f"{len(tokens)} rows; at least 10 are needed, to train on most and measure on the rest. Give more data"
        )
    order = np.random.default_rng([seed, 7]).permutation(len(tokens))
    n = min(200, max(4, len(tokens) // 10))
    return [tokens[i] for i in order[n:]], [tokens[i] for i in order[:n]]
