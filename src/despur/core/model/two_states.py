"""One module tree, two sets of tensors: a tuned model that can be its base for a while."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from despur.core.errors import BadInput
from despur.core.model.around import AroundBase, Holder
from despur.core.model.base_modules import base_modules, unwrapped


class TwoStates(AroundBase):
    """A tuned model that becomes its base inside `disable_adapter()`, as a PeftModel does.

    Only the tensors that differ are stored twice; switching exchanges references and copies nothing. The names
    are those of a PeftModel, so code that walks one can walk the other.

    Args:
        model: The base model.
        after: Base-model tensor names to the tuned tensors; what is tied in one state need not be in the other.
        before: Base-model tensor names to the base's tensors, where the model does not have them itself.
        tuner: PEFT's own module around the base model, where an adapter is to be switched as well.

    Raises:
        BadInput: a tensor that the model does not have.

    Example:
        >>> tuned = TwoStates(nn.Linear(1, 1), {"bias": torch.ones(1)})
        >>> with tuned.disable_adapter():
        ...     inside = tuned.get_base_model().bias
        >>> bool(tuned.get_base_model().bias is inside)
        False
    """

    def __init__(
        self,
        model: nn.Module,
        after: Mapping[str, Tensor],
        before: Mapping[str, Tensor] | None = None,
        *,
        tuner: nn.Module | None = None,
    ) -> None:
        super().__init__(model, tuner)
        self._depth = 0
        modules = base_modules(self)
        self._slots: list[tuple[dict[str, Any], str, Tensor, Tensor]] = []
        same: dict[int, nn.Parameter] = {}  # one parameter a tensor, so that what is tied stays tied
        for name, value in after.items():
            owner, _, leaf = name.rpartition(".")
            if owner not in modules:
                raise BadInput(f"the model has no module {owner!r} for the tensor {name!r}. Give tensors of this model")
            module = unwrapped(modules[owner])
            place: dict[str, Any] = module.__dict__["_parameters"]
            if leaf not in place:
                place = module.__dict__["_buffers"]
            if leaf not in place:
                raise BadInput(f"{type(module).__name__} {owner!r} has no tensor {leaf!r}. Give tensors of this model")
            old = (before or {}).get(name, place[leaf])
            if isinstance(place[leaf], nn.Parameter):
                old, value = (same.setdefault(id(t), _parameter(t)) for t in (old, value))
            self._slots.append((place, leaf, old, value))
        self._show(tuned=True)

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Be the base while the block runs; nested use is fine, and the tuned state comes back whatever happens."""
        self._depth += 1
        try:
            if self._depth == 1:
                self._show(tuned=False)
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._show(tuned=True)

    def _show(self, *, tuned: bool) -> None:
        self._tuned = tuned
        for place, leaf, old, new in self._slots:
            place[leaf] = new if tuned else old
        tuner: Any = self.base_model
        if isinstance(tuner, Holder):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that biases are not put back: they are, above
            tuner.enable_adapter_layers() if tuned else tuner.disable_adapter_layers()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TwoStates":
        """Move both states, not only the current one (`to`, `half`, `cuda`)."""
        for _ in range(2):
            super()._apply(fn, recurse)
            tuned = self._tuned
            self._slots = [(p, n, old if tuned else p[n], p[n] if tuned else new) for p, n, old, new in self._slots]
            self._show(tuned=not tuned)
        return self


def _parameter(tensor: Tensor) -> nn.Parameter:
    if isinstance(tensor, nn.Parameter):
        return tensor
    return nn.Parameter(tensor, requires_grad=False)
