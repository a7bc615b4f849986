"""Settings of the plain run: the cheap baselines that nobody may skip."""

from typing import Any

import torch
from peft import OSFConfig, get_peft_model

from despur.core.model.quiet import quiet_loading
from despur.flows._compare.arm import DATA, Arm, of
from despur.flows._compare.bench import EARLY, Bench


def _early(bench: Bench, share: float) -> Any:
    return bench.load(bench.early(share))


def _lower_rate(bench: Bench, rate: float) -> Any:
    return bench.train(lr=rate * bench.settings.lr, stage="lower-rate")


def _lower_rank(bench: Bench, rank: int) -> Any:
    return bench.train(rank=rank, stage="lower-rank")


def _full(bench: Bench, rate: float) -> Any:
    return bench.train(full=True, lr=rate * bench.settings.lr, stage="full")


def _osf(bench: Bench, share: float) -> Any:
    config = OSFConfig(effective_rank=share, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(bench.seed)
    with quiet_loading():
        model: Any = get_peft_model(bench.fresh(), config)  # type: ignore[arg-type]
    return bench.train(start=model, stage="osf")


def _twin(bench: Bench, twin: Any) -> Any:
    return bench.load(bench.twin(twin))


CHEAP = (
    Arm("early", _early, of(share=EARLY), "cheap", cost=0.05, note="the naive run, stopped early"),
    Arm("lower-rate", _lower_rate, of(rate=(0.5, 0.25, 0.1, 0.05)), "cheap", note="a lower learning rate"),
    Arm("lower-rank", _lower_rank, of(rank=(4, 2, 1)), "cheap", note="a lower LoRA rank"),
    Arm("full", _full, of(rate=(0.5, 0.25, 0.1)), "cheap", note="every weight trained, no adapter"),
    Arm("osf", _osf, of(share=(0.25, 0.5, 0.75)), "guard", cost=2.0, note="every matrix's leading singular directions frozen"),
    Arm("neutral-twin", _twin, ({"twin": "neutral"},), "control", cost=0.05, needs=DATA, note="data without the factor"),
    Arm("benign-twin", _twin, ({"twin": "benign"},), "control", cost=0.05, needs=DATA, note="data of the opposite factor"),
)  # fmt: skip
