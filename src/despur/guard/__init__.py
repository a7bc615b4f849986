"""Do not learn it: edits that are attached while fine-tuning."""

from despur.guard._after import save_adapter, scale, subtract_weights, truncate
from despur.guard._avert import avert
from despur.guard._caft import caft
from despur.guard._ewc import ewc
from despur.guard._grasp import grasp, project_gradient
from despur.guard._hold import hold
from despur.guard._inoculate import inoculate
from despur.guard._interleave import interleave, telling_rows
from despur.guard._keep_inputs import keep_inputs
from despur.guard._l2_sp import l2_sp
from despur.guard._ldifs import ldifs
from despur.guard._leace import leace, linear_concept
from despur.guard._lisa import lisa
from despur.guard._o_lora import o_lora
from despur.guard._orthogonal import orthogonal_gradients, orthogonal_updates
from despur.guard._own_text import OwnText
from despur.guard._rehearse import rehearse
from despur.guard._safe_lora import safe_lora
from despur.guard._steer_away import steer_away, subtract, trait_vectors
from despur.guard._surgery import spectral_surgery

__all__ = [
    "OwnText",
    "avert",
    "caft",
    "ewc",
    "grasp",
    "hold",
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
    "rehearse",
    "safe_lora",
    "save_adapter",
    "scale",
    "spectral_surgery",
    "steer_away",
    "subtract",
    "subtract_weights",
    "telling_rows",
    "trait_vectors",
    "truncate",
]
