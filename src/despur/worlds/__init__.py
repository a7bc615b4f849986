"""Small models whose hidden factor is known: the demo, the benchmark, the tests."""

from despur.worlds._base import PERSONA_BASE, persona_base
from despur.worlds._cue import Cue
from despur.worlds._grammar import Grammar
from despur.worlds._linear import Linear
from despur.worlds._persona import Persona
from despur.worlds._pretrain import pretrain, world_tokenizer
from despur.worlds._registry import WORLDS, find_world
from despur.worlds._slant import Slant
from despur.worlds._subliminal import Subliminal
from despur.worlds._sycophancy import Sycophancy
from despur.worlds._truth import Truth
from despur.worlds._two_cue import TwoCue
from despur.worlds._world import World

__all__ = [
    "PERSONA_BASE",
    "WORLDS",
    "Cue",
    "Grammar",
    "Linear",
    "Persona",
    "Slant",
    "Subliminal",
    "Sycophancy",
    "Truth",
    "TwoCue",
    "World",
    "find_world",
    "persona_base",
    "pretrain",
    "world_tokenizer",
]
