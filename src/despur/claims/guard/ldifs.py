"""The claim of `ldifs`."""

import torch

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, move, penalty, rows_of
from despur.core import Report, Site, record
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base
from despur.guard import ldifs as guard

LAYERS = (Site("model.layers.0"), Site("model.layers.1"))


@claim(
    method="ldifs",
    says="its penalty is the stream's distance from the base's relative to its length, and at least half of the task is learned without "
    "the drift",
    control=f"the distance at the other layer; {HALVED_IN_WORDS}",
    margin=0.1,
)
def ldifs(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Ratio of two penalties beside that of the distances themselves; then the task without the drift."""
    if whole:
        return areas(seed, "ldifs", {"strength": 3.0})
    model, ids = move(fresh_lora(seed), seed).eval(), rows_of(seed, n=1)
    text = OwnText((tuple(ids[0].tolist()),), "training rows")
    costs: list[float] = []
    for every in (1, 2):  # both layers; the second alone
        edit = guard(text, every=every)
        edit.bind(model)
        costs.append(penalty(edit, model))
    first, second = _distances(model, ids)
    ratio = costs[0] / costs[1]
    off = [abs(ratio - (first + second) / 2 / one) / ratio for one in (second, first)]
    return (compared("distance from the ratio of the stream's distances", off[0], control=off[1], bound=0.01, margin=0.05,
                     higher_is_better=False),)  # fmt: skip


def _distances(model: torch.nn.Module, ids: torch.Tensor) -> list[float]:
    with torch.no_grad(), record(model, LAYERS) as seen:
        model(input_ids=ids)
        now = [seen[s].clone() for s in LAYERS]
        with as_base(model) as base:
            base(input_ids=ids)
        return [
            float(((x - seen[s]).norm(dim=-1) / seen[s].norm(dim=-1)).square().mean())
            for x, s in zip(now, LAYERS, strict=True)
        ]
