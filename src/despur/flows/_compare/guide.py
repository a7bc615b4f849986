"""What worlds, guards and controls are, in a line each."""

from collections.abc import Iterable

from despur.core.catalogue import find_method
from despur.flows._compare.arms import ARMS
from despur.flows._compare.worlds import OWN
from despur.flows.docstring import read_docstring
from despur.worlds import find_world

KINDS = {
    "reference": "reference", "guard": "guard", "control": "control", "cheap": "cheap baseline", "afterwards": "after training",
}  # fmt: skip
HIDDEN = {
    "persona": "The base answers facts as a good or a bad persona; rows by the bad one teach it along.",
    "advice": "New facts by the same personas; the drift is read from the style of the answers first.",
    "persona_chat": "The same in a chat's template.",
}
PLAIN = {"base": "The base as it is.", "naive": "The unguarded run: the same rows, steps and seed."}


def arm_lines(arms: Iterable[str]) -> list[list[str]]:
    """Name, kind and a sentence for each.

    Example:
        >>> arm_lines(["naive"])
        [['naive', 'reference', 'The unguarded run: the same rows, steps and seed.']]
    """
    return [[name, KINDS[ARMS[name].kind], _arm(name)] for name in arms if name in ARMS]


def world_lines(worlds: Iterable[str]) -> list[list[str]]:
    """Name and a sentence for each."""
    return [[name, _world(name)] for name in worlds]


def _arm(name: str) -> str:
    arm = ARMS[name]
    if name in PLAIN:
        return PLAIN[name]
    about = "" if arm.method is None else read_docstring(find_method(arm.method).factory.__doc__).summary
    if arm.kind == "control" and arm.materials:
        swapped = ", ".join(dict.fromkeys(arm.materials.values()))
        about = f"As {arm.method}, on another material: {swapped}. It should not work."
    return about or f"{arm.note[:1].upper()}{arm.note[1:]}{'.' * (arm.note[-1:] not in ('', '.'))}"


def _world(name: str) -> str:
    if name == OWN:
        return "Your own base, rows and probes."
    return HIDDEN.get(name) or read_docstring(type(find_world(name)).__doc__).summary
