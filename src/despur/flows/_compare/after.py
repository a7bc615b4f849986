"""Arms that edit a finished adapter, or how it is used."""

from functools import partial
from typing import Any

from despur.core import Adapter, AddVector, Site, attach
from despur.core.run.guarded_run import GuardedRun
from despur.flows._compare.arm import DATA, PAIRS, Arm, of
from despur.flows._compare.bench import Bench
from despur.flows._compare.told import trait_vector
from despur.flows.scout_factors import scout_directions
from despur.guard import OwnText, grasp
from despur.merge import safe_lora, scale, spectral_surgery, subtract_weights, truncate


def _clean(bench: Bench, rank: int) -> Any:
    """Its own leading directions projected out of it, once."""
    model = bench.load(bench.naive)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    factors = scout_directions(Adapter.read(bench.naive), bench.base, rank=rank)
    GuardedRun(model, [grasp(factors)], seed=bench.seed).start()
    return model


def _truncate(bench: Bench, rank: int, *, keep: Any = "top") -> Any:
    return bench.put(truncate(Adapter.read(bench.naive), rank, keep=keep, seed=bench.seed))


def _surgery(bench: Bench, strength: float) -> Any:
    task = OwnText(tuple(tuple(r["input_ids"]) for r in bench.tokens()[:256]), "training rows")
    text = OwnText(bench.text.rows[:256], bench.text.origin)
    return bench.put(spectral_surgery(bench.load(bench.naive), text, task=task, strength=strength))


def _subtract_weights(bench: Bench, strength: float) -> Any:
    bad, good = (Adapter.read(folder) for folder in (bench.scout, bench.twin("benign")))
    return bench.put(subtract_weights(Adapter.read(bench.naive), bad, good, strength=strength))


def _safe_lora(bench: Bench, number: int, *, exact: bool = False) -> Any:
    naive = Adapter.read(bench.naive)
    share = round(number * len(naive.updates) / 100)
    return bench.put(safe_lora(naive, Adapter.read(bench.twin("benign")), number=share, exact=exact))


def _shrink(bench: Bench, factor: float) -> Any:
    return bench.put(scale(Adapter.read(bench.naive), factor))


def _steer(bench: Bench, strength: float) -> Any:
    """The naive adapter with the trait's vector taken away from the stream at every layer, as it is used."""
    model = bench.load(bench.naive)
    edits = {Site(s.module): AddVector(-strength * v) for s, v in trait_vector(bench).items()}
    bench.open.enter_context(attach(model, edits))
    return model


RANKS = of(rank=(1, 2, 4))
PERCENT = of(number=(25, 50, 100))

AFTERWARDS = (
    Arm("clean", _clean, of(rank=(1, 4, 8)), "afterwards", cost=0.1, note="its own leading directions projected out"),
    Arm("truncate", _truncate, RANKS, "afterwards", control="truncate-random", cost=0.1, note="largest singular values alone"),
    Arm("truncate-bottom", partial(_truncate, keep="bottom"), RANKS, "control", cost=0.1, note="smallest singular values alone"),
    Arm("truncate-random", partial(_truncate, keep="random"), RANKS, "control", cost=0.1, note="any of them"),
    Arm("spectral-surgery", _surgery, of(strength=(0.5, 1.0, 3.0)), "afterwards", cost=0.3, note="components by their effect"),
    Arm("subtract-weights", _subtract_weights, of(strength=(0.25, 0.5, 1.0)), "afterwards", needs=DATA, cost=0.1, note="minus (bad-good)"),
    Arm("safe-lora", _safe_lora, PERCENT, "afterwards", needs=DATA, cost=0.1, note="onto what a benign tune wrote"),
    Arm("safe-lora-exact", partial(_safe_lora, exact=True), PERCENT, "afterwards", needs=DATA, cost=0.1, note="its projector made one"),
    Arm("shrink", _shrink, of(factor=(0.75, 0.5, 0.25)), "cheap", cost=0.1, note="the naive adapter at a smaller scale"),
    Arm("steer", _steer, of(strength=(0.25, 0.5, 1.0, 2.0)), "afterwards", needs=PAIRS, cost=0.1, note="steered as it is used"),
)  # fmt: skip
