"""Weights that FSDP2 spread over processes, as each process sees its own part; no step of training gathers one."""

import copy

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from despur.core.errors import CannotAttach


def is_spread(weight: Tensor) -> bool:
    """Whether the tensor is one that processes share."""
    return isinstance(weight, DTensor)


def local(weight: Tensor) -> Tensor:
    """This process's own part; a plain tensor is its own."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def whole(weight: Tensor) -> Tensor:
    """The gathered tensor: for norms, and before training for one matrix after another."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def gathered(module: nn.Module) -> nn.Module:
    """A plain copy of a small module, out of its shards: for norms."""
    if not any(is_spread(p) for p in module.parameters()):
        return copy.deepcopy(module)
    clone = copy.copy(module)  # FSDP's modules refuse a deep copy; a shallow one is of the module's own class again
    own = dict(module.named_parameters(recurse=False))
    vars(clone)["_parameters"] = {**vars(module)["_parameters"], **{n: nn.Parameter(whole(p)) for n, p in own.items()}}
    return clone


def share(full: Tensor, weight: Tensor, dim: int, axis: int) -> Tensor:
    """What this process needs of a small tensor that it holds in full, moved to where the weight lies.

    Args:
        full: A tensor whose `axis` runs along the weight's `dim`.
        weight: The weight, sharded or not.
        dim: Of the weight.
        axis: Of the small tensor.

    Raises:
        CannotAttach: the weight is spread in a way that is neither sharded nor replicated.
    """
    full = full.to(weight.device)
    if not isinstance(weight, DTensor):
        return full
    if any(type(p) not in (Shard, Replicate) for p in weight.placements):
        raise CannotAttach(
            f"a trainable weight is spread as {weight.placements}; guards know sharded and replicated weights. "
            "Train with FSDP2 or DDP alone"
        )
    placements = [Shard(axis) if p == Shard(dim) else Replicate() for p in weight.placements]
    return distribute_tensor(full, weight.device_mesh, placements, src_data_rank=None).to_local().contiguous()


def sum_shards(part: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Sum what each process found along its own part of the weight's `dim`; a weight whole in `dim` needs no message."""
    if isinstance(weight, DTensor):
        for axis, placement in enumerate(weight.placements):
            if placement == Shard(dim):
                dist.all_reduce(part, group=weight.device_mesh.get_group(axis))
    return part


def like(part: Tensor, weight: Tensor) -> Tensor:
    """A process's new part as a weight spread like the old one."""
    if not isinstance(weight, DTensor):
        return part
    return DTensor.from_local(
        part, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )
