"""The tools of the checks: a requirement, and whether something is unchanged."""

from typing import Any

from torch import nn

from despur.core.catalogue import Method
from despur.core.materials import Given, Materials
from despur.core.spec import content_digest

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # torch has no public list


def require(condition: Any, broken: str) -> None:
    """Raise where a promise is broken; unlike `assert`, under `python -O`, too.

    Args:
        condition: What must be true.
        broken: The promise that is broken if it is not.

    Raises:
        AssertionError: it is not true.
    """
    if not condition:
        raise AssertionError(broken)


def at_hand(method: Method, given: Materials) -> Given:
    """The materials that a method takes, each made once: they can be inspected afterwards."""
    return Given({name: given.get(name) for name in method.takes.values() if given.has(name)})


def fingerprint(value: Any) -> Any:
    """What changes with a material: its content; of a model its weights, flags, modes and hooks."""
    if isinstance(value, nn.Module):
        flags = [(n, p.requires_grad, p.grad is None) for n, p in value.named_parameters()]
        hooks = [n for n, m in value.named_modules() if any(vars(m)[kind] for kind in _HOOKS)]
        return content_digest(dict(value.state_dict())), flags, hooks, [m.training for m in value.modules()]
    if hasattr(value, "get_params"):  # an estimator of scikit-learn
        return [(name, str(part)) for name, part in sorted(vars(value).items())]
    return content_digest(value)


def fingerprints(given: Given) -> dict[str, Any]:
    """Fingerprint of each material."""
    return {name: fingerprint(value) for name, value in given.values.items()}
