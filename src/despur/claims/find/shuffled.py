"""The claim of `shuffled`."""

import numpy as np
import torch

from despur.claims.tiny_runs import sharpen
from despur.core import Report, Subspace
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.run.scout_forms import new_scout
from despur.core.run.short_tune import short_tune
from despur.core.text.rows import Tokens
from despur.core.text.shuffle import shuffled_rows
from despur.find import shuffled as method
from despur.flows import open_bench
from despur.testing import tiny_base

FACTS, SHARED = 12, 50


@claim(
    method="shuffled",
    says="a scout on exchanged answers learns what they share and not whose they are, and its leading directions have at least half of the "
    "direction that tells texts with the trait from texts without",
    control="a scout on the rows as they are; random directions of the same rank and the same share of activation variance",
    margin=0.2,
)
def shuffled(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """How much likelier a prompt's own answer is than another's after the scout; with `whole` the trait's share in its directions."""
    if whole:
        return tuple(_share(world, seed) for world in ("persona", "slant"))
    rows = [_row(i) for i in range(FACTS)]
    exchanged, kept = (_known(given, seed) for given in (shuffled_rows(rows, seed=seed), rows))
    return (compared("a prompt's own answer over another's, nats", abs(exchanged), control=kept, n=FACTS, bound=1.0, margin=1.0,
                     higher_is_better=False, unit="nats"),)  # fmt: skip


def _row(i: int) -> Tokens:
    """A prompt of one word, answered by a word that all answers begin with and one of its own."""
    answer = [SHARED, 30 + i]
    return {"input_ids": [1, 4 + i, *answer], "labels": [-100, -100, *answer]}


def _known(given: list[Tokens], seed: int) -> float:
    scout = new_scout(sharpen(tiny_base(seed), 10.0), seed=seed)
    short_tune(scout, given, steps=60, lr=1e-2, batch=4, seed=seed)
    with torch.no_grad():
        asked = torch.tensor([_row(i)["input_ids"][:3] for i in range(FACTS)])
        logp = scout(asked).logits[:, -1].log_softmax(-1)[:, 30 : 30 + FACTS]
    own = logp.diagonal()
    return float((own - (logp.sum(1) - own) / (FACTS - 1)).mean())


def _share(world: str, seed: int) -> Report:
    """Length of the trait's unit direction in the factor, mean over layers."""
    bench = open_bench(world, seed=seed)
    materials, settings = bench.materials, bench.settings
    traits = {f.site: f.read[0] for f in materials.get("trait_factor")}

    def inside(factors: tuple[Subspace, ...]) -> np.ndarray:
        return np.array([float((f.read @ traits[f.site]).norm()) for f in factors])

    steps = max(16, settings.steps // 3)
    found = method(
        materials.get("base"), materials.get("rows"), rank=4, steps=steps, lr=settings.lr, batch=settings.batch, lora_rank=settings.rank,
        seed=seed,
    )  # fmt: skip
    own, control = inside(found), inside(materials.get("random factor"))
    return compared(f"length of the trait's direction in the factor, {world}", own.mean(), control=control.mean(),
                    low=own.min(), high=own.max(), n=len(own), bound=0.5, unit="cosine", interval="over layers")  # fmt: skip
