"""The claim of `lisa`."""

import torch

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, rows_of
from despur.core import Context, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import lisa as guard


@claim(
    method="lisa",
    says="a guide step takes the guide rows' own gradient and nothing of the task's, and at least half of the task is learned without the "
    "drift",
    control=f"the task's gradient; {HALVED_IN_WORDS}",
    margin=0.1,
)
def lisa(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance from the guide's gradient; then the task without the drift."""
    if whole:
        return areas(seed, "lisa", {"strength": 1.0})
    model, ids = fresh_lora(seed).eval(), rows_of(seed, n=1)
    edit = guard(OwnText((tuple(ids[0].tolist()),)), guide_steps=2, task_steps=3, rows_per_step=1)
    edit.bind(model)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    draw = torch.Generator().manual_seed(seed)
    task = {n: torch.randn(p.shape, generator=draw) for n, p in trained.items()}
    got = edit(task, Context(model, step=0, steps=100))
    model(input_ids=ids, labels=ids).loss.backward()
    size = sum(float(g.square().sum()) for g in got.values())
    off = [
        sum(float((got[n] - g).square().sum()) for n, g in kind.items()) / size
        for kind in ({n: p.grad for n, p in trained.items() if p.grad is not None}, task)
    ]
    return (compared("squared distance of a guide step's gradient, as a share of it", off[0], control=off[1], bound=1e-6,
                     margin=0.5, higher_is_better=False),)  # fmt: skip
