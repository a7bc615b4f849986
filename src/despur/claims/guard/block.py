"""The claim of `block`."""

import tempfile
from pathlib import Path

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, move, penalty, rows_of
from despur.core import AddVector, Report, Site, attach
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.find import from_activations, mean_shift
from despur.guard import block as guard

LAYER = Site("model.layers.1")


@claim(
    method="block",
    says="only a rise of the factor's coordinate is held, which way the scout moved it: a push the other way is free, and the scout's "
    "directions keep more drift out at the task than random ones",
    control="a push the scout's way, of the same length; random directions of the same rank and activation share",
    margin=0.05,
)
def block(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """The penalty of a push against the scout, in those of a push along it; then the task without the drift."""
    if whole:
        return areas(seed, "block", {"strength": 1.0}, against="block-random", bound=None)
    text, scouted = OwnText(tuple(tuple(r) for r in rows_of(seed).tolist())), move(fresh_lora(seed), seed).eval()
    (factor,) = from_activations(scouted, text, [LAYER], how="mean")
    model = fresh_lora(seed).eval()
    with tempfile.TemporaryDirectory() as folder:
        scouted.save_pretrained(folder, save_embedding_layers=False)
        edit = guard(factor, text, Path(folder))
        edit.bind(model)
    way = mean_shift(scouted, text.rows, factor)
    costs: list[float] = []
    for push in (-way, way):
        with attach(model, {LAYER: AddVector(push)}):
            costs.append(penalty(edit, model))
    return (compared("penalty of a push against the scout, in those of a push along it", costs[0] / costs[1], control=1.0,
                     bound=1e-4, margin=0.5, unit="ratio", higher_is_better=False),)  # fmt: skip
