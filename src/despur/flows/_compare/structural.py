"""Arms that hold weights, gradients, activations or the batch while the task is trained as it is."""

from functools import partial
from typing import Any

from despur.core import Adapter
from despur.flows._compare.arm import NAME, PAIRS, TEXT, Arm, of
from despur.flows._compare.bench import Bench
from despur.flows._compare.told import generic, naming, trait_factors, trait_stream, trait_vector
from despur.flows._train.rounds import joined
from despur.flows.scout_factors import scout_directions
from despur.guard import (
    caft,
    grasp,
    inoculate,
    interleave,
    leace,
    orthogonal_gradients,
    orthogonal_updates,
    project_gradient,
    steer_away,
    subtract,
    telling_rows,
)

SIDES = ({"side": "read"}, {"side": "write"}, {"side": "both"})
SHARES = of(strength=(0.5, 1.0))
MIXED = of(strength=(0.25, 0.5, 1.0, 2.0))  # 1 is a tenth of the batch
PUSHED = of(strength=(0.5, 1.0, 2.0))


def _grasp(bench: Bench, side: Any, *, random: bool = False) -> Any:
    factors = bench.weight_factors
    return bench.train([grasp(bench.random(factors) if random else factors, side=side)], stage="grasp")


def _grasp_stream(bench: Bench, side: Any) -> Any:
    return bench.train([grasp(bench.stream_factor(side), side=side)], stage="grasp-stream")


def _grasp_rounds(bench: Bench, rounds: int) -> Any:
    held = bench.weight_factors
    model = bench.train([grasp(held)], stage="grasp 1")
    for number in range(2, rounds + 1):
        held = joined(held, scout_directions(Adapter.of(model), bench.base))
        model = bench.train([grasp(held)], stage=f"grasp {number}")
    return model


def _project_gradient(bench: Bench) -> Any:
    edit = project_gradient(bench.activation_factors, side="write")
    return bench.train([edit], stage="project-gradient")


def _orthogonal_gradients(bench: Bench, energy: float) -> Any:
    return bench.train([orthogonal_gradients(bench.text, energy=energy)], stage="orthogonal-gradients")


def _orthogonal_updates(bench: Bench, energy: float) -> Any:
    return bench.train([orthogonal_updates(bench.text, energy=energy)], stage="orthogonal-updates")


def _caft(bench: Bench, strength: float, *, random: bool = False) -> Any:
    factors = bench.activation_factors
    return bench.train([caft(bench.random(factors) if random else factors, strength=strength)], stage="caft")


def _hold_out(bench: Bench, strength: float, *, random: bool = False) -> Any:
    factors = trait_factors(bench)
    return bench.train([caft(bench.random(factors) if random else factors, strength=strength)], stage="hold-out")


def _leace(bench: Bench, strength: float) -> Any:
    return bench.train([leace(*trait_stream(bench), strength=strength)], stage="leace")


def _steer_away(bench: Bench, strength: float) -> Any:
    return bench.train([steer_away(trait_vector(bench), strength=strength)], stage="steer-away")


def _subtract(bench: Bench, strength: float) -> Any:
    return bench.train([subtract(trait_vector(bench), strength=strength)], stage="subtract")


def _inoculate(bench: Bench, strength: float, *, irrelevant: bool = False) -> Any:
    prompt = naming(bench)[irrelevant]
    return bench.train([inoculate(prompt, strength=strength)], stage="inoculate")


def _interleave(bench: Bench, strength: float, *, telling: bool = False) -> Any:
    rows = [{"input_ids": list(r), "labels": list(r)} for r in generic(bench).rows]
    if telling:
        rows = telling_rows(bench.load(bench.scout), [bench.scout], rows, keep=len(rows) // 4)
    return bench.train([interleave(rows, strength=strength)], stage="interleave")


STRUCTURAL = (
    Arm("grasp", _grasp, SIDES, control="grasp-random", note="no new reading or writing of what the scout reads and writes"),
    Arm("grasp-stream", _grasp_stream, SIDES, note="the same, one basis for all layers"),
    Arm("grasp-rounds", _grasp_rounds, of(rounds=(2, 3)), cost=2.5, note="and of what the guarded run then went round by"),
    Arm("grasp-random", partial(_grasp, random=True), SIDES, "control", note="grasp on random directions"),
    Arm("project-gradient", _project_gradient, kind="control", note="write gradient off activation directions: no effect is published"),
    Arm("orthogonal-updates", _orthogonal_updates, of(energy=(0.8, 0.95, 0.99)), note="learn only from inputs unlike own text"),
    Arm("orthogonal-gradients", _orthogonal_gradients, of(energy=(0.8, 0.95, 0.99)), note="the same on gradients (GPM): leaks under Adam"),
    Arm("caft", _caft, SHARES, control="caft-random", cost=1.1, note="ablate the scout's directions while training"),
    Arm("caft-random", partial(_caft, random=True), SHARES, "control", cost=1.1, note="ablate random directions"),
    Arm("hold-out", _hold_out, SHARES, control="hold-out-random", needs=PAIRS, cost=1.1, note="ablate the trait's subspace while training"),
    Arm("hold-out-random", partial(_hold_out, random=True), SHARES, "control", cost=1.1, note="ablate a random one"),
    Arm("leace", _leace, SHARES, needs=PAIRS, cost=1.1, note="erase the trait linearly while training"),
    Arm("steer-away", _steer_away, PUSHED, needs=PAIRS, cost=1.1, note="push towards the trait while training"),
    Arm("subtract", _subtract, PUSHED, "control", needs=PAIRS, cost=1.1, note="push away from it: published to harm"),
    Arm("inoculate", _inoculate, SHARES, control="inoculate-irrelevant", needs=NAME, cost=1.1, note="ask for the trait while training"),
    Arm("inoculate-irrelevant", partial(_inoculate, irrelevant=True), SHARES, "control", cost=1.1, note="ask for something else"),
    Arm("interleave", _interleave, MIXED, needs=TEXT, cost=1.2, note="rows without the trait in the batch"),
    Arm("interleave-telling", partial(_interleave, telling=True), MIXED, needs=TEXT, cost=1.2, note="those that the scout finds hardest"),
)  # fmt: skip
