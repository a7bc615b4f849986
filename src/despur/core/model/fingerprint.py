"""Which base model this is, identified by its weights."""

import hashlib
from contextlib import nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from despur.core.model.base_modules import base_modules, unwrapped
from despur.core.model.shards import whole
from despur.core.model.two_states import TwoStates

_SAMPLE = 1024
_SPREAD = 2654435761  # odd and coprime to any width: a plain stride may run down a single column
_PART = 2**24  # values in memory at once
_known: "WeakKeyDictionary[nn.Module, str]" = WeakKeyDictionary()


@torch.no_grad()
def fingerprint(base: nn.Module) -> str:
    """Hash of a base model: every weight's name, shape and values, rounded to bfloat16.

    Rounding makes a float32 and a bfloat16 load of one checkpoint agree; a float16 load of a float32 one may
    differ. A tied weight counts once; an adapter on top does not count. Cost is one pass over the weights, about a second
    a gigabyte. The sixteen letters before the point are of 1,024 values of each weight, and all that earlier versions
    recorded: `same_base` compares both forms.

    Args:
        base: A model, PEFT on top or not.

    Example:
        >>> fingerprint(nn.Linear(2, 2)) == fingerprint(nn.Linear(2, 2))  # other weights
        False
    """
    sampled, full = hashlib.sha256(), hashlib.sha256()
    for name, weight in sorted(base_weights(base).items()):
        head = f"{name} {tuple(weight.shape)} ".encode()
        flat = whole(weight.detach()).reshape(-1)  # sharded weights one after another
        sampled.update(head + _rounded(_sample(flat)))
        full.update(head)
        for part in flat.split(_PART):
            full.update(_rounded(part))
    return f"{sampled.hexdigest()[:16]}.{full.hexdigest()[:32]}"


def same_base(recorded: str, given: str) -> bool:
    """Whether two fingerprints are of one base; where one is of an earlier version, as far as that can tell.

    Example:
        >>> same_base("b9fed1ac51a51059", "b9fed1ac51a51059.0f"), same_base("b9fed1ac51a51059.0e", "b9fed1ac51a51059.0f")
        (True, False)
    """
    (one, _, all_of_one), (other, _, all_of_other) = recorded.partition("."), given.partition(".")
    return one == other and (all_of_one == all_of_other or not (all_of_one and all_of_other))


@torch.no_grad()
def known_fingerprint(base: nn.Module) -> str:
    """The same, computed once for a model that nobody changes meanwhile; a sample of its weights is looked at again.

    Args:
        base: A model, PEFT on top or not.
    """
    key = base_modules(base)[""]
    if key in _known:
        sha = hashlib.sha256()
        for name, weight in sorted(base_weights(base).items()):
            flat = whole(weight.detach()).reshape(-1)
            sha.update(f"{name} {tuple(weight.shape)} ".encode() + _rounded(_sample(flat)))
        if _known[key].startswith(sha.hexdigest()[:16]):
            return _known[key]
    _known[key] = fingerprint(base)
    return _known[key]


def remember_fingerprint(base: nn.Module, value: str) -> None:
    """Let `known_fingerprint` give this value, which is known from elsewhere."""
    _known[base_modules(base)[""]] = value


def _sample(flat: Tensor) -> Tensor:
    size = len(flat)
    index = torch.arange(min(size, _SAMPLE), device=flat.device)
    return flat[index * _SPREAD % size if size > _SAMPLE else index]


def _rounded(values: Tensor) -> bytes:
    return values.to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()


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
