"""The claim of `caa`."""

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import rows_of
from despur.core import Report, Site, attach, record
from despur.core.claim import claim
from despur.core.margin import compared
from despur.flows import Arm
from despur.steer import caa as method
from despur.testing import tiny_base

LAYER, BEHIND = Site("model.layers.0"), Site("model.layers.1", "in")
TOWARDS = Arm("steer-towards", "caa", kind="control", note="steered to the trait")


@claim(
    method="caa",
    says="steered away from the trait while it is used, the unguarded run keeps at least half of its task without the drift",
    control="steered by the same vector the other way",
    margin=0.1,
)
def caa(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """How far the stream lies from where the vector puts it; then the task without the drift in two worlds."""
    if whole:
        at = {"strength": 1.0}
        return areas(seed, "steer", at, against=TOWARDS)
    model, tokens = tiny_base(seed), rows_of(seed)
    v = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    edit = method({LAYER: v}, strength=0.5)
    edit.bind(model)
    before = _stream(model, tokens)
    with attach(model, dict.fromkeys(edit.sites, edit)):
        moved = _stream(model, tokens) - before
    gaps = [float((moved - by * v).abs().max()) for by in (0.5, -0.5)]
    return (compared("distance from the vector's own shift", gaps[0], control=gaps[1], n=moved[..., 0].numel(), bound=1e-4,
                     margin=0.1, higher_is_better=False),)  # fmt: skip


def _stream(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), record(model, [BEHIND]) as seen:
        model(input_ids=tokens)
    return seen[BEHIND]
