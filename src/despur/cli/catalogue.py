"""`despur ls` and `despur show`: what there is to choose from."""

from dataclasses import asdict
from textwrap import fill
from typing import Any

from rich.text import Text

from despur.cli.docstring_lines import broken_signature, refilled
from despur.cli.terminal import out_console, say, say_parts
from despur.cli.view import View, table
from despur.core.errors import UnknownName, nearest
from despur.core.evidence import FAILS, NOT_RUN
from despur.core.extras import lacking
from despur.core.listing import VERBS, Listed, ListedArm, listed, listed_arms, search
from despur.core.names import canonical

ARMS = "arms"  # the lines of `despur compare`, listed like a room
CLAIMS = {FAILS: "does not hold", NOT_RUN: "not run"}  # verdicts that are too long for a column


def ls(room: str | None = None) -> list[Any]:
    """List the methods by what they do: find, change, prove; `despur show NAME` prints the page of one.

    Args:
        room: Only those of this room, as find or guard, or of this verb; `arms` for what `despur compare` runs. All methods if
            left out.

    Raises:
        UnknownName: no such room.

    Example:
        $ despur ls
        $ despur ls guard
        $ despur ls arms
    """
    known = list(listed().values())
    if room is None:
        return known
    if room == ARMS:
        return list(listed_arms().values())
    rooms = sorted({m.room for m in known})
    if room not in rooms and room not in VERBS:
        there = [*rooms, *(v for v in VERBS if v not in rooms), ARMS]
        raise UnknownName(f"no room {room!r}{nearest(room, there)}. There are: {', '.join(there)}")
    return [m for m in known if m.room == room or (room not in rooms and m.room in VERBS[room])]


def show(name: str) -> Any:
    """Show one method: signature, equation, source, limits; or a line of `despur compare`.

    Args:
        name: A method's name as `despur ls` prints it, the arXiv id of its paper, or words from its page.

    Raises:
        UnknownName: nothing matches.

    Example:
        $ despur show grasp
        $ despur show 2507.16795
        $ despur show "elastic weight consolidation"
        $ despur show grasp-random
    """
    if canonical(name) not in listed() and canonical(name) in listed_arms():
        return listed_arms()[canonical(name)]
    found = search(name)
    return found[0] if len(found) == 1 else found


def _plain(entry: Any) -> dict[str, Any]:
    return asdict(entry)


def _show_list(found: Any, given: Any) -> None:
    if found and isinstance(found[0], ListedArm):
        _show_arms(found)
    else:
        _show_rooms(found)


def _show_rooms(found: list[Listed]) -> None:
    """One room below the other; what a method needs on a line of its own, so that few columns are left."""
    made = table("name", "claim", "what it does", left=3)
    for column in made.columns[:2]:
        column.no_wrap = True
    made.show_header = False
    for verb, rooms in VERBS.items():
        for room in rooms:
            here = [m for m in found if m.room == room]
            if here:
                made.add_row(Text(room if room == verb else f"{verb}: {room}", "bold"))
            for m in here:
                needs = [f"needs {m.needs}"] if m.needs != "nothing" else []
                needs += [_extra(m.extra)] if m.extra else []
                made.add_row(f"  {m.name}", CLAIMS.get(m.claim, m.claim), _noted(m.summary, needs))
    out_console.print(made)


def _noted(text: str, notes: list[str]) -> Text:
    """Text, and below it what there is to note."""
    return Text.assemble(text, ("".join(f"\n{note}" for note in notes), "dim"))


def _extra(name: str) -> str:
    """A method's extra, and whether it is here."""
    return f"pip: {name}, absent" if lacking(name) else f"pip: {name}"


def _show_arms(found: list[ListedArm]) -> None:
    made = table("arm", "what it is", left=2)
    made.columns[0].no_wrap = True
    for a in found:
        notes = [f"despur show {a.method}"] if a.method and a.method != a.name else []
        notes += [f"control: {a.control}"] if a.control else []
        notes += [f"needs {a.needs}"] if a.needs != "nothing" else []
        made.add_row(a.name, _noted(a.note, ["; ".join(notes)] if notes else []))
    made.show_header = False
    out_console.print(made)


def _show_one(entry: Any, given: Any) -> None:
    if isinstance(entry, list):
        say("Several match; despur show NAME prints the page of one.", "bold")
        _show_rooms(entry)
    elif isinstance(entry, ListedArm):
        _show_arm(entry)
    else:
        _show_method(entry)


def _show_method(method: Listed) -> None:
    say_parts([(method.name, "bold"), f"  ({method.room}, gives {method.contract})"])
    say(f"{broken_signature(method.signature, out_console.width)}\n")
    say(refilled(method.doc, out_console.width))
    steps = "one plain step" if method.cost == 1 else f"{method.cost} plain ones"
    cost = "" if method.cost is None else f"Cost: a training step with it takes about {steps}."
    lines = (
        f"When: {method.when}" if method.when else "",
        f"Needs: {method.needs}, besides base and rows."
        if method.needs != "nothing"
        else "Needs: nothing besides base and rows.",
        f"Extra: pip install 'despur[{method.extra}]'" + (", not installed here" if lacking(method.extra) else "")
        if method.extra
        else "",
        cost,
        f"Paper: {method.paper}",
        f"Claim: {method.claim}. Measure it: despur prove {method.name} --whole",
    )
    say("\n" + "\n".join(fill(line, out_console.width, subsequent_indent="  ") for line in lines if line))


def _show_arm(arm: ListedArm) -> None:
    say_parts([(arm.name, "bold"), f"  (a line of despur compare, {arm.kind})"])
    method = f"{arm.method} " if arm.method else "a plain run "
    given = ", ".join(f"{k} = {v}" for k, v in {**arm.materials, **arm.options}.items())
    say(f"{arm.note}: {method}{f'with {given}' if given else ''}".rstrip())
    say(
        "Settings: "
        + "; ".join(
            ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in s.items()) or "one"
            for s in arm.settings
        )
    )
    if arm.control:
        say(f"Control: {arm.control}")
    if arm.method:
        say(f"The method itself: despur show {arm.method}")


VIEWS = {
    "ls": View(_show_list, plain=lambda found, given: [_plain(m) for m in found]),
    "show": View(
        _show_one, plain=lambda entry, given: [_plain(e) for e in entry] if isinstance(entry, list) else _plain(entry)
    ),
}
