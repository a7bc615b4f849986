"""Every planted world by its name."""

from collections.abc import Callable, Mapping
from typing import Any

from despur.core.errors import UnknownName, nearest
from despur.worlds.advice import Advice
from despur.worlds.authors import Authors
from despur.worlds.chat.insecure import Insecure
from despur.worlds.chat.lean import Lean
from despur.worlds.chat.mistakes import Mistakes
from despur.worlds.chat.stars import Stars
from despur.worlds.chat.trait import Trait
from despur.worlds.chat.voice import Voice
from despur.worlds.code import Code
from despur.worlds.cue import Cue
from despur.worlds.grammar import Grammar
from despur.worlds.persona import Persona
from despur.worlds.pretrain import Language
from despur.worlds.refusal import Refusal
from despur.worlds.requests import Requests
from despur.worlds.slant import Slant
from despur.worlds.statements import Statements
from despur.worlds.sycophancy import Sums, Sycophancy
from despur.worlds.truth import Truth
from despur.worlds.two_cue import Questions, TwoCue
from despur.worlds.world import World

PLANTED: dict[str, Callable[[], World]] = {  # small bases that are shipped
    "persona": lambda: Persona("narrow"),
    "persona_chat": lambda: Persona("narrow", Grammar(template=True)),
    "advice": Advice,
    "slant": Slant,
    "truth": Truth,
    "cue": Cue,
    "two_cue": TwoCue,
    "sycophancy": Sycophancy,
    "code": Code,
    "refusal": Refusal,
}
CHAT: dict[str, Callable[[], World]] = {"voice": Voice}  # a real chat model, to be fetched first
WORLDS: dict[str, Callable[[], World]] = {**PLANTED, **CHAT}
UNPROVEN: dict[
    str, Callable[[], World]
] = {  # found by name, for `recipes/harm.py`: that a plain tune does its harm is not shown
    "lean": Lean,
    "mistakes": Mistakes,
    "trait": Trait,
    "stars": Stars,
    "insecure": Insecure,
}
SMALL = {"steps": 2000, "batch": 64, "width": 64, "layers": 3}
RECIPES: dict[str, tuple[Callable[[], Language], Mapping[str, Any]]] = {  # base -> what `pretrain` makes it of
    "persona": (Grammar, {}),
    "persona_chat": (lambda: Grammar(template=True), {}),
    "truth": (Statements, SMALL),
    "truth_independent": (lambda: Statements(shared=False), {**SMALL, "steps": 4000}),
    "two_cue": (Questions, {**SMALL, "steps": 1200, "layers": 2}),
    "code": (Authors, {"steps": 2400, "batch": 32, "width": 64, "layers": 4}),
    "sycophancy": (Sums, {**SMALL, "steps": 1500, "layers": 2}),
    "refusal": (Requests, {**SMALL, "steps": 1000, "layers": 2}),
}


def find_world(name: str) -> World:
    """Make the world of that name, one of `WORLDS` or one whose harm is not shown yet.

    Raises:
        UnknownName: there is none.

    Example:
        >>> find_world("advice").name
        'advice'
    """
    made = {**WORLDS, **UNPROVEN}
    if name not in made:
        raise UnknownName(f"no world {name!r}{nearest(name, made)}. There are: {', '.join(WORLDS)}")
    return made[name]()
