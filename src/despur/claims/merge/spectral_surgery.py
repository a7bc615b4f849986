"""The claim of `spectral-surgery`."""

from typing import Any

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, move, rows_of
from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.capture import log_probs
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.flows import Arm
from despur.merge import spectral_surgery as method

TURNED = Arm("spectral-surgery-turned", "spectral-surgery", kind="control")


@claim(
    method="spectral-surgery",
    says="components turned up or down by what they do to the loss leave at least half of the task without the drift",
    control="the same components turned the other way",
    margin=0.1,
)
def spectral_surgery(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Off-task change after it, as a share of that before; then the task without the drift in two worlds."""
    if whole:
        at, turned = {"strength": 1.0}, {"strength": -1.0}
        return areas(seed, "spectral-surgery", at, against=TURNED, at=turned)
    text = OwnText(tuple(tuple(r) for r in rows_of(seed, n=12).tolist()))
    before, left = _drift(_model(seed), text), []
    for strength in (0.5, -0.5):
        model = _model(seed)
        done = method(model, text, strength=strength)
        with torch.no_grad():
            for name, u in done.updates.items():
                layer = model.base_model.model.get_submodule(name)
                layer.lora_A["default"].weight.copy_(u.down)
                layer.lora_B["default"].weight.copy_(u.scale * u.up / layer.scaling["default"])
        left.append(_drift(model, text) / before)
    return (compared("KL to the base that is left", left[0], control=left[1], n=len(text.rows), bound=0.98, margin=0.03,
                     higher_is_better=False, unit="share of before"),)  # fmt: skip


def _model(seed: int) -> Any:
    return move(fresh_lora(seed), seed).eval()


def _drift(model: Any, text: OwnText) -> float:
    """KL(base || model) a token."""
    total = 0.0
    for row in text.rows:
        ids = torch.tensor([row])
        with as_base(model), torch.no_grad():
            base = log_probs(model, ids, torch.ones_like(ids))
        with torch.no_grad():
            total += float((base.exp() * (base - log_probs(model, ids, torch.ones_like(ids)))).sum())
    return total / sum(map(len, text.rows))
