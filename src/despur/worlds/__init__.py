"""Small models whose hidden factor is known: the demo, the benchmark, the tests."""

from despur.worlds._base import PERSONA_BASE, persona_base
from despur.worlds._cue import Cue
from despur.worlds._grammar import Grammar
from despur.worlds._persona import Persona
from despur.worlds._pretrain import pretrain, world_tokenizer

__all__ = ["PERSONA_BASE", "Cue", "Grammar", "Persona", "persona_base", "pretrain", "world_tokenizer"]
