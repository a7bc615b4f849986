"""How a line of the table becomes a model that can be scored."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import OSFConfig, get_peft_model

from despur.core import Adapter, attach
from despur.core.build import build
from despur.core.catalogue import find_method
from despur.core.model.quiet import quiet_loading
from despur.core.run.guarded_run import GuardedRun
from despur.flows._compare.arm import Arm, Setting
from despur.flows._compare.bench import Bench
from despur.flows._train.rounds import joined
from despur.merge import save_adapter


def run_arm(bench: Bench, arm: Arm, setting: Setting, made: Any = None) -> Any:
    """Train, edit or load what an arm stands for; what it attaches stays on until `bench.open` is closed.

    Args:
        bench: World and seed.
        arm: Line of the table.
        setting: One of its settings.
        made: What `made_for` gave, where it was called before.
    """
    if arm.adapter is not None:
        return _finished(bench, arm.adapter, **setting)
    if arm.method is None:
        return _plain(bench, arm, **setting)
    made = made_for(bench, arm, setting) if made is None else made
    room = find_method(arm.method).room
    if room == "merge":
        return _put(bench, made)
    if room == "steer":
        model = bench.load(bench.naive)
        made.bind(model)
        bench.open.enter_context(attach(model, {site: made for site in made.sites}))
        return model
    if arm.once:
        return _once(bench, made)
    beside = [build(name, bench.materials, **options) for name, options in arm.beside.items()]
    model = bench.train([made, *beside], stage=arm.name)
    factor = bench.materials.get("weight_factor") if "rounds" in setting else ()
    for number in range(2, setting.get("rounds", 1) + 1):
        factor = joined(factor, bench.materials.directions(Adapter.of(model)))
        again = find_method(arm.method).factory(factor)
        model = bench.train([again, *beside], stage=f"{arm.name} {number}")
    return model


def made_for(bench: Bench, arm: Arm, setting: Setting) -> Any:
    """Build an arm's method from the bench's materials."""
    assert arm.method is not None
    known = find_method(arm.method).options
    options = {k: v for k, v in {**arm.options, **setting}.items() if k in known}
    if "seed" in known:
        options.setdefault("seed", bench.seed)
    return build(arm.method, bench.materials, instead=arm.materials_at(setting), **options)


def _once(bench: Bench, edit: Any) -> Any:
    """The naive adapter after one pass of a weight edit."""
    model = bench.load(bench.naive)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    GuardedRun(model, [edit], seed=bench.seed).start()
    return model


def _plain(bench: Bench, arm: Arm, *, rate: float = 1.0, rank: int | None = None, share: float = 0.5) -> Any:
    """A plain run with other settings: learning rate as a multiple of the bench's, rank, or what is trained."""
    full, osf = arm.run.get("full", False), arm.run.get("osf", False)
    start: Any = None
    if osf:
        config = OSFConfig(effective_rank=share, target_modules="all-linear", task_type="CAUSAL_LM")
        torch.manual_seed(bench.seed)
        with quiet_loading():
            start = get_peft_model(bench.fresh(), config)  # type: ignore[arg-type]
    settings = bench.settings
    return bench.train(full=full, start=start, stage=arm.name, lr=rate * settings.lr, rank=rank or settings.rank)


def _finished(bench: Bench, name: str, share: float | None = None) -> Any:
    """A model of a finished run: `base`, `naive`, `early` at a share of its steps, or a twin's."""
    if name == "base":
        return bench.fresh()
    if name == "naive":
        return bench.load(bench.naive)
    return bench.load(bench.early(share) if name == "early" and share else bench.twin(name))  # type: ignore[arg-type]


def _put(bench: Bench, adapter: Adapter) -> Any:
    """The base under an adapter that was edited."""
    with tempfile.TemporaryDirectory() as folder:
        return bench.load(save_adapter(adapter, Path(folder) / "adapter"))
