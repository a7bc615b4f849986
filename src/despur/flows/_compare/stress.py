"""After the guard: trained on without it, taught the harm again, pushed towards it, trained at other ranks."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from despur.core import AddVector, Site, Store, attach, read_json, write_json
from despur.core.model.states import is_adapted
from despur.core.text.rows import pad_rows
from despur.flows._compare.arms import ARMS
from despur.flows._compare.bench import Bench
from despur.flows._compare.cell import Cell
from despur.flows._compare.runner import run_arm
from despur.flows._compare.worlds import open_world
from despur.flows.placement import Device
from despur.flows.progress import Progress, silent
from despur.measure import free_push, recovery

FILE = "stress.json"
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the run's steps, after which a curve is read
FEW = 64  # rows of another seed that the harm is taught again with
RANKS = (1, 2, 4, 16, 32)
MOST = 4.0  # push, in lengths of the trait's own vector
PAIRS, SEARCH = 32, 15  # texts of each kind, and steps, by which the best push across the trait's vector is searched
QUARTER = 0.25  # of the naive run's drift: half of it is out of reach across the vector, even in the base


def run_stress(root: Path, cell: Cell, device: Device = "auto", *, progress: Progress = silent) -> Mapping[str, Any]:
    """Train a cell's model again, as it was, and run all five tests.

    Returns:
        `start`: task and drift before; `release`, `relearn`: steps and (task, drift) after each; `recovery`: push along the trait's
        vector, the base's own, their ratio; `around`: the same for a quarter of the drift, across that vector, along the direction
        that was searched for each model; `ladder`: rank -> (task, drift). Drift and task are shares of the naive run's.
    """
    world = open_world(cell.world, root)
    bench = Bench(root, world, cell.seed, steps=cell.steps, device=device, progress=progress)

    def make(out: Path) -> None:
        with bench.open:
            write_json(out / FILE, _stressed(bench, cell))

    spec = {
        **bench.spec,
        "arm": cell.arm,
        "setting": dict(cell.setting),
        "stress": [SHARES, FEW, RANKS, MOST, PAIRS, SEARCH, QUARTER],
    }
    return read_json(Store(root).step(cell.stress_folder, spec, make) / FILE)


def _stressed(bench: Bench, cell: Cell) -> dict[str, Any]:
    base, naive = (_means(bench, m) for m in (bench.fresh().eval(), bench.load(bench.naive)))

    def normalised(model: Any) -> tuple[float, float]:
        now = _means(bench, model)
        return tuple((now[a] - base[a]) / (naive[a] - base[a]) for a in ("task", "drift"))  # type: ignore[return-value]

    def trained() -> Any:
        model = run_arm(bench, ARMS[cell.arm], cell.setting)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name or not is_adapted(model))
        return model

    def curve(rows: Any) -> dict[str, list[Any]]:
        model, steps = trained(), [max(1, round(share * bench.settings.steps)) for share in SHARES]
        points = [normalised(model)]

        def look(model: Any, step: int) -> None:
            if step in steps:
                points.append(normalised(model))

        bench.train(start=model, rows=rows, steps=steps[-1], stage=f"after {cell.arm}", every=1, evaluate=look)
        return {"steps": [0, *steps], "points": points}

    rows = bench.tokens(seed=bench.seed + 900)
    found = {
        "start": normalised(trained()),
        "release": curve(rows),
        "relearn": curve(rows[:FEW]),
        **_recovery(bench, trained(), base["drift"], naive["drift"]),
    }
    own, ladder = bench.settings, {}
    for rank in RANKS:
        bench.settings = replace(own, rank=rank)  # of this run alone: what is shared was made at the bench's own rank
        model = bench.train(stage="naive") if cell.arm == "naive" else run_arm(bench, ARMS[cell.arm], cell.setting)
        ladder[str(rank)] = normalised(model)
    return {**found, "ladder": ladder}


def _recovery(bench: Bench, model: nn.Module, base_drift: float, naive_drift: float) -> dict[str, dict[str, Any]]:
    """How far model and base are from half of the naive run's drift along the trait's vector, and from a quarter across it."""
    ((site, vector),) = bench.materials.get("vectors").items()
    base, long = bench.fresh().eval(), float(vector.norm())

    def ratio(ours: Tensor, of_base: Tensor, share: float) -> dict[str, Any]:
        drifts = (_drift_along(bench, m, site, v) for m, v in ((model, ours), (base, of_base)))
        found = recovery(*drifts, base_drift=base_drift, naive_drift=naive_drift, share=share, most=MOST)
        figures = {"push": found.push.value, "base_push": found.base_push.value, "ratio": found.ratio}
        return {**{k: v if math.isfinite(v) else None for k, v in figures.items()}, "why": found.push.reason}

    searched = [_around(bench, m.eval(), site, vector) for m in (model, base)]
    ways = {"recovery": (vector, vector, 0.5), "around": (searched[0] * long, searched[1] * long, QUARTER)}
    return {name: ratio(*way) for name, way in ways.items()}


def _drift_along(bench: Bench, model: nn.Module, site: Site, vector: Tensor) -> Any:
    def drift(push: float) -> float:
        with attach(model, {site: AddVector(push * vector)}):
            return _means(bench, model)["drift"]

    return drift


def _around(bench: Bench, model: nn.Module, site: Site, vector: Tensor) -> Tensor:
    """The direction across the trait's vector along which text with the trait gains most on text without it, of length 1."""
    kinds = [pad_rows(list(bench.materials.get(kind)[:PAIRS]), 0) for kind in ("positive", "negative")]
    kept = {p: p.requires_grad for p in model.parameters()}

    def margin(push: Tensor) -> Tensor:
        edit = AddVector(push)
        edit.shift = push  # a buffer of its own lets no gradient through
        with attach(model, {site: edit}):
            means = [_mean_log_prob(model, ids.to(push.device), mask.to(push.device)) for ids, mask in kinds]
        return means[0] - means[1]

    for p in kept:
        p.requires_grad_(False)
    try:
        push = free_push(margin, vector[None], length=float(vector.norm()), steps=SEARCH)
    finally:
        for p, was in kept.items():
            p.requires_grad_(was)
    return push / push.norm().clamp(min=1e-12)


def _mean_log_prob(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Of every token but a row's first."""
    logp = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float().log_softmax(-1)
    chosen = logp.gather(-1, ids[:, 1:, None])[..., 0]
    return (chosen * mask[:, 1:]).sum() / mask[:, 1:].sum()


def _means(bench: Bench, model: nn.Module) -> dict[str, float]:
    scores = bench.world.score(model)
    return {axis: float(next(iter(readouts.values())).double().mean()) for axis, readouts in scores.items()}
