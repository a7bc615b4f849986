"""What a run starts from and is measured against: the base, or the base with an adapter that the run goes on with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from despur.core import Adapter, write_json
from despur.core.adapter.continued import fold_in, joined
from despur.core.adapter.save import write_adapter
from despur.core.disk.new_folder import DONE
from despur.flows.load import load_base
from despur.flows.placement import Placement


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
        """The model and its tokenizer."""
        model, tokenizer = self.plain()
        if self.adapter is not None:
            fold_in(model, self.adapter)
        return model, tokenizer

    def plain(self) -> tuple[Any, Any]:
        """The base itself, and its tokenizer."""
        return load_base(self.base, self.placement)

    def join(self, added: Path, out: Path) -> None:
        """Write the adapter that does on the plain base what the added one does on this model."""
        assert self.adapter is not None
        write_adapter(joined(self.adapter, Adapter.read(added), self.plain()[0]), out)
        write_json(out / DONE, {"course": {}})
