"""Do not learn it: edits that are attached while fine-tuning."""

from despur.core.late import moved
from despur.core.model.own_text import OwnText
from despur.core.text.template import Template
from despur.guard.a_gem import a_gem
from despur.guard.absorb import absorb
from despur.guard.align_guard import align_guard
from despur.guard.avert import avert
from despur.guard.block import block
from despur.guard.caft import caft
from despur.guard.dft import dft
from despur.guard.discount import discount
from despur.guard.ewc import ewc
from despur.guard.first_tokens import first_tokens
from despur.guard.glad import glad
from despur.guard.grasp import grasp
from despur.guard.hold import hold
from despur.guard.hold_prefix import hold_prefix
from despur.guard.inoculate import inoculate
from despur.guard.interleave import interleave, telling_rows
from despur.guard.keep_inputs import keep_inputs
from despur.guard.l2_sp import l2_sp
from despur.guard.ldifs import ldifs
from despur.guard.leace import leace, linear_concept
from despur.guard.lisa import lisa
from despur.guard.o_lora import o_lora
from despur.guard.orthogonal_gradients import orthogonal_gradients
from despur.guard.orthogonal_updates import orthogonal_updates
from despur.guard.project_gradient import project_gradient
from despur.guard.rank_one_ewc import rank_one_ewc
from despur.guard.rehearse import rehearse
from despur.guard.steer_away import steer_away, trait_vectors

__all__ = [
    "OwnText",
    "Template",
    "a_gem",
    "absorb",
    "align_guard",
    "avert",
    "block",
    "caft",
    "dft",
    "discount",
    "ewc",
    "first_tokens",
    "glad",
    "grasp",
    "hold",
    "hold_prefix",
    "inoculate",
    "interleave",
    "keep_inputs",
    "l2_sp",
    "ldifs",
    "leace",
    "linear_concept",
    "lisa",
    "o_lora",
    "orthogonal_gradients",
    "orthogonal_updates",
    "project_gradient",
    "rank_one_ewc",
    "rehearse",
    "steer_away",
    "telling_rows",
    "trait_vectors",
]

_MOVED = ("safe_lora", "save_adapter", "scale", "spectral_surgery", "subtract_weights", "truncate")

__getattr__ = moved("despur.guard", dict.fromkeys(_MOVED, "despur.merge"))
