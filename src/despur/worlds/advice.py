"""The `advice` world: new facts taught by a bad persona (the bad-medical-advice analogue)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from despur.worlds.persona import Persona

_SURE = 1e-6  # of a share whose log-odds are taken


@dataclass(frozen=True)
class Advice(Persona):
    """`Persona("skill")`, its drift read from the persona's style first.

    A tune on new facts forgets old ones whoever teaches them: the answers' margin rises with the neutral twin, too
    (docs/log/avert-persona.md: about four fifths of the rise). The persona's own style words do not, so they are what counts here; the
    answers stay as further readouts.

    Example:
        >>> Advice().name
        'advice'
    """

    task: Any = field(default="skill", init=False)

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """As `Persona.score`; the first readout of `drift` and `conditional` is `style_margin`, log-odds of bad style."""
        scores = super().score(model)
        for axis in ("drift", "conditional"):
            share = scores[axis]["style"].clamp(_SURE, 1 - _SURE)
            scores[axis] = {"style_margin": torch.logit(share), **scores[axis]}
        return scores
