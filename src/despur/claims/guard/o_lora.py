"""The claim of `o-lora`."""

import tempfile
from pathlib import Path

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, learn, move, rows_of
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import o_lora as guard


@claim(
    method="o-lora",
    says="the new A turns away from what the scout's A reads, and at least half of the task is learned without the drift",
    control=f"another adapter's A; {HALVED_IN_WORDS}",
    margin=0.1,
)
def o_lora(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Overlap of the two A after a tune; then the task without the drift."""
    if whole:
        return areas(seed, "o-lora", {"strength": 3.0})
    overlaps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("scout", "other")]
        for i, place in enumerate(places):
            move(fresh_lora(seed), seed + i).save_pretrained(place, save_embedding_layers=False)
        former = Adapter.read(places[0])
        for place in places:
            tuned = learn(fresh_lora(seed), rows_of(seed), guard(place, strength=5.0), steps=30)
            parts = [former.updates[n].down @ u.down.T for n, u in Adapter.of(tuned).updates.items()]
            overlaps.append(sum(float(part.abs().sum()) for part in parts))
    return (compared("overlap with the scout's A, in that of a run turned from another", overlaps[0] / overlaps[1], control=1.0,
                     n=len(former.updates), margin=0.3, unit="ratio", higher_is_better=False),)  # fmt: skip
