"""Small models whose hidden factor is known: the demo, the benchmark, the tests.

The digits are imported when they are asked for: no verb needs them.
"""

from typing import TYPE_CHECKING

from despur.core.late import imported_late
from despur.worlds.base import PERSONA_BASE, persona_base
from despur.worlds.cue import Cue
from despur.worlds.grammar import Grammar
from despur.worlds.linear import Linear
from despur.worlds.persona import Persona
from despur.worlds.pretrain import pretrain, world_tokenizer
from despur.worlds.registry import WORLDS, find_world
from despur.worlds.shared import Shared
from despur.worlds.slant import Slant
from despur.worlds.subliminal import Subliminal
from despur.worlds.sycophancy import Sycophancy
from despur.worlds.truth import Truth
from despur.worlds.two_cue import TwoCue
from despur.worlds.world import World

if TYPE_CHECKING:
    from despur.worlds.digits import (
        CORRUPTIONS,
        NETS,
        NOISES,
        DigitRows,
        Digits,
        Forgetting,
        Pass,
        accuracy,
        corrupt,
        digit_net,
        few_shots,
        forget_class,
        forget_rows,
        membership,
        noisy_labels,
        renormalized,
        row_losses,
        stamped,
        train_net,
        trained_net,
    )

_DIGITS = (
    "CORRUPTIONS", "NETS", "NOISES", "DigitRows", "Digits", "Forgetting", "Pass", "accuracy", "corrupt", "digit_net",
    "few_shots", "forget_class", "forget_rows", "membership", "noisy_labels", "renormalized", "row_losses", "stamped",
    "train_net", "trained_net",
)  # fmt: skip

__all__ = [
    "CORRUPTIONS",
    "NETS",
    "NOISES",
    "PERSONA_BASE",
    "WORLDS",
    "Cue",
    "DigitRows",
    "Digits",
    "Forgetting",
    "Grammar",
    "Linear",
    "Pass",
    "Persona",
    "Shared",
    "Slant",
    "Subliminal",
    "Sycophancy",
    "Truth",
    "TwoCue",
    "World",
    "accuracy",
    "corrupt",
    "digit_net",
    "few_shots",
    "find_world",
    "forget_class",
    "forget_rows",
    "membership",
    "noisy_labels",
    "persona_base",
    "pretrain",
    "renormalized",
    "row_losses",
    "stamped",
    "train_net",
    "trained_net",
    "world_tokenizer",
]

__getattr__ = imported_late("despur.worlds", {"digits": _DIGITS})
