"""Which base model this is, identified by a sample of its weights."""

import hashlib
from contextlib import nullcontext

import torch
from torch import nn

from despur.core.model.base_modules import base_modules, unwrapped
from despur.core.model.shards import whole
from despur.core.model.two_states import TwoStates

_SAMPLE = 1024
_SPREAD = 2654435761  # odd and coprime to any width: a plain stride may run down a single column


@torch.no_grad()
def fingerprint(base: nn.Module) -> str:
    """Hash of a base model: every weight's name, shape and up to 1,024 of its values, rounded to bfloat16.

    Rounding makes a float32 and a bfloat16 load of one checkpoint agree; a float16 load of a float32 one may
    differ. Cost is some thousand reads a tensor, whatever the model's size. A tied weight counts once; an
    adapter on top does not count.

    Args:
        base: A model, PEFT on top or not.

    Example:
        >>> fingerprint(nn.Linear(2, 2)) == fingerprint(nn.Linear(2, 2))  # other weights
        False
    """
    sha = hashlib.sha256()
    for name, weight in sorted(base_weights(base).items()):
        flat, size = whole(weight.detach()).reshape(-1), weight.numel()  # sharded weights one after another
        index = torch.arange(min(size, _SAMPLE), device=flat.device)
        sample = flat[index * _SPREAD % size if size > _SAMPLE else index].to("cpu", torch.bfloat16)
        sha.update(f"{name} {tuple(weight.shape)} ".encode() + sample.view(torch.int16).numpy().tobytes())
    return sha.hexdigest()[:16]


def base_weights(model: nn.Module, *, tied: bool = False) -> dict[str, nn.Parameter]:
    """Weights under their base-model names, an adapter's own left out; those of the base where there are two states.

    Args:
        model: A model, PEFT on top or not.
        tied: Give tied weights under all of their names, not once.
    """
    with model.disable_adapter() if isinstance(model, TwoStates) else nullcontext():
        weights: dict[str, nn.Parameter] = {}
        seen: set[int] = set()
        for name, module in base_modules(model, shared=tied).items():
            for leaf, weight in unwrapped(module).named_parameters(recurse=False, remove_duplicate=False):
                if tied or id(weight) not in seen:
                    weights[f"{name}.{leaf}" if name else leaf] = weight
                seen.add(id(weight))
        return weights
