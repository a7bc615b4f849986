"""What the arguments of `compare` ask for: a plan, registered in a new folder or found in an old one, and its record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from despur.core import new_folder
from despur.core.errors import BadInput
from despur.flows._compare.kept import kept
from despur.flows._compare.plan import FILE, read_plan, register, write_plan
from despur.flows._compare.saved import read_record
from despur.flows._compare.worlds import OWN, describe_own, is_own, own_of
from despur.flows.record import run_record
from despur.flows.stand_in import StandIn
from despur.judge import Prereg

ASKED = (
    "guards",
    "guard_budget",
    "seeds",
    "tuning_seeds",
    "steps",
    "quick",
)  # what a plan depends on, besides its worlds
MIN_STEPS = 8


def read_steps(text: str) -> int | dict[str, int]:
    """Read `120`, for every world, or `persona=80,slant=120`.

    Raises:
        BadInput: neither.
    """
    pairs = [part.rpartition("=") for part in names_in(text)]  # (world, "=", number), or ("", "", number)
    if any(not n.isdigit() or int(n) < MIN_STEPS for *_, n in pairs) or not (
        len(pairs) < 2 or all(world for world, *_ in pairs)
    ):
        raise BadInput(
            f"--steps {text}: give a number of {MIN_STEPS} or more, or one per world, as in --steps persona=80,slant=120"
        )
    by_world = {world: int(n) for world, _, n in pairs}
    return by_world.get("", by_world)


def names_in(names: Sequence[str] | str) -> tuple[str, ...]:
    """Names, as they are or separated by commas in one text."""
    return tuple(n.strip() for n in names.split(",") if n.strip()) if isinstance(names, str) else tuple(names)


def plan_of(
    worlds: Sequence[str] | str, data: Path | str | None, probes: Path | str | None, *, out: Path, **asked: Any
) -> tuple[Prereg, tuple[str, ...]]:
    """`settle` a plan for the arguments of `compare`.

    Raises:
        BadInput: base, data and probes are not all given.
    """
    if (data is None) != (probes is None) or (data is None and isinstance(worlds, StandIn)):
        raise BadInput("your own work needs all three, as in: despur compare BASE DATA --probes FILE")
    if data is None or probes is None:
        return settle(names_in(worlds), out, **asked)
    base = worlds if isinstance(worlds, str) else ",".join(worlds)
    return settle((), out, own={"base": base, "data": data, "probes": probes}, **asked)


def record_of(out: Path, plan: Prereg, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that repeat this study; a start without arguments continues the plan, and so records the former ones."""
    former = (read_record(out) or {"arguments": {}})["arguments"]
    if arguments["data"] is None:
        arguments = {**arguments, "worlds": list(names_in(arguments["worlds"]))}
    else:  # what was in memory has a file by now
        own = own_of(out)
        arguments = {**arguments, "worlds": own["base"], "data": own["data"], "probes": own["probes"]}
    if not any(arguments[k] for k in ("worlds", "data", *ASKED)):
        later = {k: arguments[k] for k in ("after", "after_seeds") if arguments["after"]}
        arguments = {**arguments, "worlds": list(plan.worlds), **former, **later}
    elif not arguments["worlds"]:
        same = {k: former[k] for k in ("worlds", "data", "probes") if k in former}
        arguments = {**arguments, "worlds": list(plan.worlds), **same}
    return {**run_record("compare", arguments), "plan": plan.digest}


def settle(
    worlds: Sequence[str],
    out: Path,
    *,
    own: Mapping[str, Path | str] | None = None,
    deviate: bool = False,
    **asked: Any,
) -> tuple[Prereg, tuple[str, ...]]:
    """Register a plan in a new folder, or take the registered one; it may be replaced until something was run.

    Args:
        worlds: Names of worlds.
        out: Folder of the study.
        own: `base`, `data` and `probes` of a user's own work, in place of worlds: paths, or what stands for models and rows in memory.
        deviate: Go on with another plan than the registered one.
        **asked: Arguments of `register`.

    Returns:
        The plan, and notes for the report.

    Raises:
        BadInput: other arguments than the registered ones; nothing to compare; the folder is another's; what is in memory
            cannot be used.
    """
    work = {part: kept(part, value) for part, value in (own or {}).items()}
    given = {k: v for k, v in asked.items() if v}
    if (out / FILE).exists():
        registered = read_plan(out / FILE)
        if not (worlds or work or given):
            return registered, ()
        begun, other = any((out / name).exists() for name in ("shared", "cells")), work and not is_own(out, work)
        if begun and other:
            raise BadInput(
                f"{str(out)!r} is a study of another base, data or probes. Leave these out to go on with it, or choose another -o"
            )
        worlds = worlds or (() if work else registered.worlds)
        if not other:
            plan = register((OWN,) if work else worlds, root=out, **given)
            if plan.digest == registered.digest:
                return registered, ()
            if begun and deviate:
                return plan, tuple(_differences(plan, registered))
            if begun:
                raise BadInput(
                    f"{str(out)!r} was registered with another plan ({registered.digest[:12]}, now {plan.digest[:12]}). Leave the "
                    "arguments out to go on with it, choose another -o, or add --deviate, which the report will state"
                )
    if not (worlds or work):
        raise BadInput("no world to compare guards in. Name one or more, as in: despur compare persona,slant -o study/")
    with new_folder(out) as draft:
        if work:
            describe_own(draft, **work)
        plan = register((OWN,) if work else worlds, root=draft, **given)
        write_plan(plan, draft)
    return plan, ()


def _differences(plan: Prereg, registered: Prereg) -> list[str]:
    now, then = plan.to_dict(), registered.to_dict()
    notes = [f"This run's plan ({plan.digest[:12]}) is not the registered one ({registered.digest[:12]})."]
    return notes + [f"Its {k}: registered {then[k]}, run {now[k]}." for k in now if now[k] != then[k]]
