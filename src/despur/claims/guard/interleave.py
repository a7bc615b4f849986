"""The claim of `interleave`."""

import torch

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, learn, rows_of
from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import interleave as guard


@claim(
    method="interleave",
    says="rows that are mixed into the batch stay as likely as they were, and with rows without the trait at least half of the task is "
    "learned without the drift",
    control=f"other rows mixed in; {HALVED_IN_WORDS}",
    margin=0.1,
)
def interleave(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """The loss on the rows after a tune that mixed them in; then the task without the drift."""
    if whole:
        return areas(seed, "interleave", {"strength": 1.0})
    wanted, other, task = (rows_of(seed + i, n=8) for i in range(3))
    losses: list[float] = []
    for rows in (wanted, other):
        model = learn(fresh_lora(seed), task, guard(OwnText(tuple(map(tuple, rows.tolist()))), strength=10.0), steps=40)
        with torch.no_grad():
            losses.append(float(model(input_ids=wanted, labels=wanted).loss))
    return (
        compared(
            "loss on the rows", losses[0], control=losses[1], n=8, margin=0.3, unit="nats", higher_is_better=False
        ),
    )
