"""Small models whose hidden factor is known: the demo, the benchmark, the tests."""

from despur.worlds.base import PERSONA_BASE, persona_base
from despur.worlds.cue import Cue
from despur.worlds.grammar import Grammar
from despur.worlds.linear import Linear
from despur.worlds.persona import Persona
from despur.worlds.pretrain import pretrain, world_tokenizer
from despur.worlds.registry import WORLDS, find_world
from despur.worlds.slant import Slant
from despur.worlds.subliminal import Subliminal
from despur.worlds.sycophancy import Sycophancy
from despur.worlds.truth import Truth
from despur.worlds.two_cue import TwoCue
from despur.worlds.world import World

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
