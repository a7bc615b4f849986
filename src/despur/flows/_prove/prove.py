"""Run what methods are said to do, beside controls that must fail."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from despur.core import find_method, locked, methods, read_json, write_json
from despur.core.claim import Form
from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.evidence import HOLDS, PROXY, grouped, shipped
from despur.core.names import canonical
from despur.flows._prove.page import evidence_blocks
from despur.flows._prove.proven import Evidence, Proven
from despur.flows._prove.run import run_claim
from despur.flows.option import Option
from despur.flows.pool import Job, run_jobs
from despur.flows.progress import Progress, silent
from despur.flows.record import run_record
from despur.flows.run_page import write_run_page
from despur.flows.verb import Seed, recorded, verb
from despur.flows.written import PAGES

Key = tuple[str, Form]  # method, form
FILE, PAGE, OUT = "evidence.json", "report.html", "runs/prove"


@verb
def prove(
    name: Annotated[str | None, Option(metavar="NAME|ROOM")] = None,
    *,
    all: bool = False,
    whole: bool = False,
    seed: Seed = 0,
    jobs: Annotated[int | None, Option(low=1, recorded=False)] = None,
    out: Annotated[Path | str | None, Option("-o", recorded=False)] = None,
    progress: Progress = silent,
) -> Evidence:
    """Show whether a method does what it is said to do, beside a control that must fail.

    Every method of the catalogue has a claim. Its mechanism takes two seconds: shapes, identities, equalities. Its statement, with
    `--whole`, takes a minute on two cores (five where it says so): what the method does for a model. A claim holds when each
    figure is ahead of its control by a margin that was declared before, and the control fails. One that does not hold stays in the
    table with its figures. An interrupted run with `-o` continues where it stopped.

    Args:
        name: A method, or a room for all of its methods.
        all: Every method of the catalogue.
        whole: The statements, too, not the mechanisms alone.
        seed: Seed of everything that is drawn.
        jobs: Worker processes; one per core if left out.
        out: Folder for `evidence.json` and a page; with several claims `runs/prove` if left out, with one nothing is written.
        progress: Called when a claim has ended.

    Returns:
        Verdicts and figures.

    Raises:
        UnknownName: no such method or room; the message names the nearest.
        BadInput: neither a name nor `all`, or both; or another run writes there.

    Example:
        $ despur prove grasp
        $ despur prove caft --whole
        $ despur prove --all --whole --jobs 2 -o evidence/
        >>> prove("scale").proven[0].verdict
        'holds'
    """
    arguments = recorded(prove, locals())
    chosen = _chosen(name, all)
    folder = Path(out) if out is not None else Path(OUT) if len(chosen) > 1 else None
    forms: tuple[Form, ...] = ("mechanism", "statement") if whole else ("mechanism",)
    keys: list[Key] = [(method, form) for form in forms for method in chosen]
    with contextlib.nullcontext() if folder is None else locked(folder, room=PAGES):
        before = _before(folder)
        proven = _run_all(keys, seed, folder, jobs or os.cpu_count() or 1, progress)
        lost = [f"{p.method}, {p.form}" for p in proven if not p.good and _held(before, p)]
        others = () if whole else _shipped([m for m in chosen if len(chosen) == 1])
        at = None if folder is None else str(folder)
        evidence = Evidence(proven, lost, at, others, run_record("prove", arguments))
        if folder is not None:
            write_json(folder / FILE, evidence.to_dict())
            write_run_page(
                folder / PAGE,
                evidence.record,
                title="despur prove",
                subtitle=name or "every method",
                blocks=evidence_blocks(evidence),
            )
    return evidence


def _chosen(name: str | None, all: bool) -> list[str]:
    known = {m.name: m.room for m in methods().values()}
    if all == (name is not None):
        raise BadInput("give the name of one method or room, or --all for every method. List them: despur ls")
    if name is None:
        return sorted(known, key=lambda m: (known[m], m))
    rooms = sorted(set(known.values()))
    if canonical(name) in known:
        return [find_method(name).name]
    if name in rooms:
        return [m for m, room in sorted(known.items()) if room == name]
    raise UnknownName(f"no method or room {name!r}{nearest(canonical(name), [*known, *rooms])}. List them: despur ls")


def _run_all(keys: Sequence[Key], seed: int, folder: Path | None, workers: int, progress: Progress) -> list[Proven]:
    rooms = {method: find_method(method).room for method, _ in keys}
    found: dict[Key, Proven] = {}
    if workers == 1 or len({method for method, _ in keys}) == 1:  # to start workers takes longer than one claim
        for number, (method, form) in enumerate(keys):
            progress("claims", number, len(keys), {})
            found[method, form] = run_claim(method, form, seed, folder)
    else:
        # statements first: one of minutes that starts last would keep a worker alone at the end
        order = sorted(keys, key=lambda key: key[1] == "mechanism")
        ended = run_jobs([[Job(key, run_claim, (*key, seed, folder)) for key in order]], workers=workers)
        for number, done in enumerate(ended, 1):
            method, form = done.key
            lost = done.cause  # of a worker: what a claim raises is a verdict
            found[done.key] = (
                done.result if lost is None else Proven.broken(None, method, rooms[method], form, seed, lost)
            )
            progress("claims", number, len(keys), {})
    return [found[key] for key in sorted(keys, key=lambda key: (rooms[key[0]], *key))]


def _before(folder: Path | None) -> Any:
    """What held when these claims were last run: in this folder, or else in the evidence that is shipped."""
    if folder is not None and (folder / FILE).exists():
        try:
            return grouped(read_json(folder / FILE)["proven"])
        except (BadInput, KeyError, TypeError):  # damaged: it is written again
            pass
    return shipped()


def _held(before: Any, now: Proven) -> bool:
    return before.get(now.method, {}).get(now.form, {}).get("verdict") in (HOLDS, PROXY)


def _shipped(methods: Sequence[str]) -> list[Proven]:
    entries = (shipped().get(m, {}).get("statement") for m in methods)
    return [Proven(**entry) for entry in entries if entry]
