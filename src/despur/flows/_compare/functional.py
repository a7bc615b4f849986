"""Arms that hold what the model does: on the base's own text, on the tune's inputs, or by a penalty on its weights."""

from typing import Any

from despur.flows._compare.arm import TEXT, Arm, of
from despur.flows._compare.bench import Bench
from despur.flows._compare.told import generic
from despur.guard import OwnText, avert, ewc, hold, keep_inputs, l2_sp, ldifs, lisa, o_lora, rehearse

STRENGTHS = of(strength=(0.1, 0.3, 1.0, 3.0))


def _avert(bench: Bench, strength: float, **options: Any) -> Any:
    return bench.train([avert(bench.text, bench.scout, strength=strength, **options)], stage="avert")


def _avert_two_sided(bench: Bench, strength: float) -> Any:
    return _avert(bench, strength, one_sided=False)


def _avert_permuted(bench: Bench, strength: float) -> Any:
    return _avert(bench, strength, permute_seed=bench.seed)


def _rehearse(bench: Bench, strength: float) -> Any:
    return bench.train([rehearse(bench.text, strength=strength)], stage="rehearse")


def _rehearse_generic(bench: Bench, strength: float) -> Any:
    return bench.train([rehearse(generic(bench), strength=strength)], stage="rehearse-generic")


def _keep_inputs(bench: Bench, strength: float) -> Any:
    return bench.train([keep_inputs(_training_rows(bench), strength=strength)], stage="keep-inputs")


def _hold(bench: Bench, strength: float) -> Any:
    return bench.train([hold(bench.activation_factors, bench.text, strength=strength)], stage="hold")


def _hold_random(bench: Bench, strength: float) -> Any:
    factors = bench.random(bench.activation_factors)
    return bench.train([hold(factors, bench.text, strength=strength)], stage="hold-random")


def _ldifs(bench: Bench, strength: float) -> Any:
    return bench.train([ldifs(_training_rows(bench), strength=strength, every=1)], stage="ldifs")


def _l2_sp(bench: Bench, strength: float) -> Any:
    return bench.train([l2_sp(strength=strength)], stage="l2-sp")


def _ewc(bench: Bench, strength: float) -> Any:
    return bench.train([ewc(bench.text, strength=strength, seed=bench.seed)], stage="ewc")


def _o_lora(bench: Bench, strength: float) -> Any:
    return bench.train([o_lora(bench.scout, strength=strength)], stage="o-lora")


def _lisa(bench: Bench, strength: float) -> Any:
    return bench.train([lisa(generic(bench), strength=strength)], stage="lisa")


def _training_rows(bench: Bench) -> OwnText:
    rows = dict.fromkeys(tuple(r["input_ids"]) for r in bench.tokens())
    return OwnText(tuple(rows), "training rows")


WIDE = of(strength=(0.3, 1.0, 3.0, 10.0))  # where less is known of what a strength does

FUNCTIONAL = (
    Arm("avert", _avert, STRENGTHS, control="avert-permuted", cost=2.2, note="hold back the scout's own off-task change"),
    Arm("avert-two-sided", _avert_two_sided, STRENGTHS, cost=2.2, note="the same, both ways"),
    Arm("avert-permuted", _avert_permuted, STRENGTHS, "control", cost=2.2, note="avert with the scout's change on other words"),
    Arm("rehearse", _rehearse, STRENGTHS, cost=2.0, note="KL to the base on its own samples"),
    Arm("rehearse-generic", _rehearse_generic, STRENGTHS, cost=2.0, needs=TEXT, note="KL to the base on documents without the trait"),
    Arm("keep-inputs", _keep_inputs, WIDE, cost=2.5, note="KL to the base on the tune's own inputs"),
    Arm("hold", _hold, STRENGTHS, control="hold-random", cost=2.0, note="the factor's coordinates on own samples"),
    Arm("hold-random", _hold_random, STRENGTHS, "control", cost=2.0, note="random coordinates on own samples"),
    Arm("ldifs", _ldifs, WIDE, cost=2.5, note="the whole stream on the tune's own inputs"),
    Arm("l2-sp", _l2_sp, WIDE, cost=1.2, note="size of the update"),
    Arm("ewc", _ewc, WIDE, cost=2.0, note="Fisher-weighted size of the update, on own samples"),
    Arm("o-lora", _o_lora, WIDE, cost=1.2, note="read nothing that the scout reads"),
    Arm("lisa", _lisa, STRENGTHS, cost=1.5, needs=TEXT, note="turns of guide rows and task rows, pulled together"),
)  # fmt: skip
