"""Wrappers that launchers put around a model and an optimiser: removed where that is safe, refused where not."""

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState, is_initialized
from accelerate.utils import DistributedType
from accelerate.utils.environment import str_to_bool
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer
from transformers import TrainingArguments

from despur.core.errors import CannotAttach
from despur.core.types import Edit


def check_arguments(args: TrainingArguments, edits: Sequence[Edit]) -> None:
    """Refuse a Trainer's settings under which a guard would not work.

    Raises:
        CannotAttach: DeepSpeed, a loss guard under fp16's scaled gradients, or a batch guard where a row is not plain
            training text.
    """
    if args.deepspeed:
        refuse_deepspeed()
    if args.fp16 and any(edit.point == "loss" for edit in edits):
        raise CannotAttach(
            "fp16=True scales the task's gradients and not the guard's, which would be negligible beside them. Take bf16=True"
        )
    if any(edit.point == "batch" for edit in edits):
        _check_rows(args)


def _check_rows(args: TrainingArguments) -> None:
    kinds = [
        c.__name__ for c in type(args).__mro__ if c.__module__.startswith("trl.") and not c.__name__.startswith("_")
    ]
    if kinds and "SFTConfig" not in kinds:
        raise CannotAttach(
            f"a batch guard changes rows of text with labels, and {kinds[0]} stands for a trainer that compares or samples "
            "its rows. Take Trainer, SFTTrainer or a loop of your own"
        )
    packed = [name for name in ("packing", "padding_free") if getattr(args, name, False)]
    if packed:
        raise CannotAttach(f"a batch guard finds no single rows under {packed[0]}=True. Switch it off")


def loads_on_one_process_only() -> bool:
    """Whether accelerate gives the base's weights to the first process alone until it has sharded them."""
    return str_to_bool(os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")) == 1 and "RANK" in os.environ


def bare_model(model: Any) -> nn.Module:
    """The model itself, without DDP and `torch.compile`, whose names its parameters have.

    Raises:
        CannotAttach: no model, or one in a wrapper that keeps the weights in another form.
    """
    if not isinstance(model, nn.Module):
        raise CannotAttach(
            f"the trainer gave no model to guard (got {type(model).__name__}). Is it a transformers Trainer?"
        )
    while isinstance(model, DistributedDataParallel | DataParallel) or "_orig_mod" in dict(model.named_children()):
        model = model.module if isinstance(model, DistributedDataParallel | DataParallel) else model._orig_mod
    if type(model).__name__ == "DeepSpeedEngine" or (
        is_initialized() and AcceleratorState().distributed_type == DistributedType.DEEPSPEED
    ):
        refuse_deepspeed()
    if any(isinstance(m, FullyShardedDataParallel) for m in model.modules()):
        raise CannotAttach(
            "FSDP of version 1 flattens the weights, so a guard finds no matrices. Set fsdp_version: 2 in the "
            "accelerate config (fully_shard in a loop of your own)"
        )
    return model


def refuse_deepspeed() -> None:
    """Stop a run under DeepSpeed.

    Raises:
        CannotAttach: always.
    """
    raise CannotAttach(
        "DeepSpeed keeps the weights in partitions of its own, where no guard has been tested yet. Launch with DDP or FSDP2"
    )


def bare_optimizer(optimizer: Any) -> Optimizer:
    """The torch optimiser whose `step` moves the weights.

    Raises:
        CannotAttach: an optimiser that keeps a second copy of the weights, which a guard would not reach.
    """
    inner = optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
    if type(inner).__module__.startswith("schedulefree"):
        raise CannotAttach(
            f"{type(inner).__name__} averages a second copy of the weights that a guard does not reach. Take an optimiser "
            "with one copy, as AdamW"
        )
    return inner


def is_replicated(model: nn.Module) -> bool:
    """Whether DDP keeps a whole copy of the model in every process."""
    return any(isinstance(module, DistributedDataParallel) for module in model.modules())


def reshard(model: nn.Module) -> None:
    """Drop gathered copies of FSDP2's weights, so that the next forward pass sees what was written into the shards."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def mean_over_processes(count: int, device: torch.device) -> int:
    """The mean of a number over all processes, rounded: each of them then decides alike by it."""
    if not dist.is_available() or not dist.is_initialized():
        return count
    total = torch.tensor(float(count), device=device)
    dist.all_reduce(total)
    return round(float(total) / dist.get_world_size())


def average(tensors: list[Tensor]) -> None:
    """Average tensors over all processes, in place and in one message."""
    flat = torch.cat([t.flatten() for t in tensors])
    dist.all_reduce(flat)
    for tensor, mean in zip(tensors, flat.div_(dist.get_world_size()).split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
