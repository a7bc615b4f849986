"""The claim of `caft`."""

import torch

from despur.claims.planted import WORLDS, areas
from despur.claims.tiny_runs import fresh_lora, random_factor
from despur.core import EVERYWHERE, Report, Site, record
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.run.callback import guarded
from despur.guard import caft as guard

LAYER = Site("model.layers.1")


@claim(
    method="caft",
    says="trained without the scout's directions in its stream, a model learns at least half of the task without the drift",
    control="random directions of the same rank and activation share ablated in the same way",
    margin=0.1,
    slow=True,
)
def caft(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """What is left of the factor in the stream; then the task that is learned without the drift in three worlds."""
    if whole:
        return areas(seed, "caft", {"strength": 1.0}, against="caft-random", worlds=(*WORLDS, "advice"))
    factor, other = (random_factor(rank=3, seed=seed + i, site=Site(EVERYWHERE)) for i in (0, 1))
    model = fresh_lora().train()
    tokens = torch.tensor([[1, 9, 20], [1, 12, 30]])
    steps = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with guarded(model, steps, guard(factor)), record(model, [LAYER]) as seen:
        model(input_ids=tokens, labels=tokens)
    stream = seen[LAYER].detach()
    ours, control = (float(f.encode(stream).norm() / stream.norm()) for f in (factor, other))
    return (
        compared("share of the stream along the factor while training", ours, control=control, bound=1e-5, margin=0.01,
                 higher_is_better=False),
    )  # fmt: skip
