"""What goes through modules in one pass, kept as rows."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def first(output: Any) -> Any:
    """What a module gives, without what it gives beside it."""
    return output[0] if isinstance(output, tuple | list) and output else output


class Recorder:
    """Keeps what goes through modules in one pass, as rows.

    Args:
        modules: By name.
        given: Names of those whose arguments are kept as they are.
        push: A module, and what is added to its output.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        given: set[str] | frozenset[str] = frozenset(),
        push: tuple[str, Tensor] | None = None,
    ) -> None:
        self.modules, self._given, self._push = modules, given, push
        self.enters: dict[str, Tensor] = {}
        self.leaves: dict[str, Tensor] = {}
        self.order: list[str] = []
        self.given: dict[str, tuple[Any, dict[str, Any]]] = {}
        self.again: set[str] = set()
        self._handles: list[Any] = []

    def __enter__(self) -> "Recorder":
        for name, module in self.modules.items():
            self._handles.append(module.register_forward_hook(self._hook(name), with_kwargs=True))
            if name in self._given:
                self._handles.append(module.register_forward_pre_hook(self._keep(name), with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, name: str):
        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.given[name] = (args, kwargs)

        return keep

    def _hook(self, name: str):
        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            if self._push is not None and self._push[0] == name:
                output = output + self._push[1]
            into = next((a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a.is_floating_point()), None)
            out = first(output)
            if name in self.leaves or name in self.order:
                self.again.add(name)
            self.order.append(name)
            if into is not None and into.ndim:
                self.enters[name] = into.detach().clone().reshape(-1, into.shape[-1])
            if isinstance(out, Tensor) and out.ndim:
                self.leaves[name] = out.detach().clone().reshape(-1, out.shape[-1])
            return output if self._push is not None and self._push[0] == name else None

        return keep
