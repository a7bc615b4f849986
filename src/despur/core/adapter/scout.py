"""A scout: a short, unguarded run, switched on for a moment."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from despur.core.adapter.adapter import Adapter
from despur.core.errors import CannotAttach
from despur.core.model.capture import log_probs
from despur.core.model.states import check_switchable, evaluating, same_flags


@dataclass(frozen=True)
class Scout:
    """A short, unguarded run, by its adapter's folder; as a control its change is put on other words.

    Args:
        folder: PEFT folder of its adapter.
        permuted: Seed by which the vocabulary is permuted in its change: as large a change, of other words.

    Example:
        >>> Scout.of("scout/")
        Scout(folder=PosixPath('scout'), permuted=None)
    """

    folder: Path
    permuted: int | None = None

    @classmethod
    def of(cls, scout: "Scout | Path | str") -> "Scout":
        """Take a scout as it is, or a folder as one."""
        return scout if isinstance(scout, Scout) else cls(Path(scout))

    def change(self, model: Any, ids: Tensor, mask: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """What it does to the base's log-probabilities on a batch.

        Args:
            model: PEFT model with the scout switched on; see `as_scout`.
            ids: Token ids (b, t).
            mask: 1 where they are real (b, t).
            base: The base's log-probabilities there (b, t, v).

        Returns:
            Its log-probabilities (b, t, v), on other words where it is permuted, and KL(base || scout) a position (b, t), the
            size of its change, which no permutation touches.
        """
        own = log_probs(model, ids, mask)
        size = (base.exp() * (base - own)).sum(-1)
        if self.permuted is not None:
            order = torch.randperm(base.shape[-1], generator=torch.Generator().manual_seed(self.permuted))
            own = torch.log_softmax(base + (own - base)[..., order.to(base.device)], -1)
        return own, size


@contextlib.contextmanager
def as_scout(model: Any, folder: Path | str) -> Iterator[Any]:
    """The model with another adapter switched on for a moment; its own comes back untouched."""
    check_switchable(model, "a guard with a scout", error=CannotAttach)
    Adapter.read(folder).check(model)  # before anything is loaded: it is there, was trained, and on this base
    name, active, main = "despur_scout", list(model.active_adapters), model.active_adapter
    with same_flags(model), evaluating(model):
        try:
            with torch.random.fork_rng(devices=[]):
                model.load_adapter(str(folder), adapter_name=name)
            model.set_adapter(name)
            model.eval()  # the scout's own modules, too
            yield model
        finally:
            model.base_model.set_adapter(active)  # several may have been on, which PEFT's own set_adapter cannot say
            model.active_adapter = main
            if name in model.peft_config:
                model.delete_adapter(name)
