"""What a run starts from and is measured against: the base, or the base with an adapter that the run goes on with."""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from despur.core import Adapter, write_json
from despur.core.adapter.continued import fold_in, joined
from despur.core.adapter.save import write_adapter
from despur.core.disk.new_folder import DONE
from despur.core.model.shared_copy import shared_copy
from despur.flows.load import load_base
from despur.flows.placement import Placement
from despur.flows.stand_in import StandIn


@dataclass(frozen=True)
class Reference:
    """A base, and the adapter on it that a run goes on with.

    Args:
        base: Where the base is loaded from.
        adapter: Plain LoRA that is folded into it; None where the run starts from the base itself.
        placement: Device and precision.
    """

    base: str
    adapter: Adapter | None = None
    placement: Placement = field(default_factory=Placement)

    def load(self) -> tuple[Any, Any]:
        """The model, and its tokenizer; all models that are given share their weights, which are read from disk once."""
        model, tokenizer = self._start
        return shared_copy(model), tokenizer

    def plain(self) -> tuple[Any, Any]:
        """The base itself, in the same way."""
        model, tokenizer = self._plain
        return shared_copy(model), tokenizer

    @cached_property
    def _plain(self) -> tuple[Any, Any]:
        return load_base(self.base, self.placement)

    @cached_property
    def _start(self) -> tuple[Any, Any]:
        if self.adapter is None:
            return self._plain
        model, tokenizer = load_base(self.base, self.placement)
        if isinstance(self.base, StandIn):
            model = copy.deepcopy(model)  # what is folded in must not reach the user's own
        fold_in(model, self.adapter)
        return model, tokenizer

    def join(self, added: Path, out: Path) -> None:
        """Write the adapter that does on the plain base what the added one does on this model."""
        assert self.adapter is not None
        write_adapter(joined(self.adapter, Adapter.read(added), self.plain()[0]), out)
        write_json(out / DONE, {"course": {}})
