"""A scout: a short, unguarded run, switched on for a moment."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.adapter.adapter import plain_adapter
from despur.core.adapter.own_tensors import trained_copies
from despur.core.adapter.peft_folder import Opened, is_plain, open_folder
from despur.core.adapter.peft_merge import needs_originals
from despur.core.adapter.plain_config import beyond_plain
from despur.core.adapter.put_on import put_on
from despur.core.errors import BadInput, CannotAttach, DespurError, ShapeMismatch
from despur.core.model.base_modules import base_modules
from despur.core.model.fingerprint import base_weights, fingerprint
from despur.core.model.stacks import map_shapes
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

    @classmethod
    def each(cls, given: "Scouts") -> "tuple[Scout, ...]":
        """One scout or several, as several."""
        several = [given] if isinstance(given, Scout | Path | str) else given
        return tuple(cls.of(scout) for scout in several)

    def change(
        self, own: Float[Tensor, "n v"], base: Float[Tensor, "n v"]
    ) -> tuple[Float[Tensor, "n v"], Float[Tensor, " n"]]:
        """What it does to the base's log-probabilities.

        Args:
            own: Log-probabilities with the scout switched on; see `as_scout`.
            base: The base's at the same positions.

        Returns:
            Its log-probabilities, on other words where it is permuted, and KL(base || scout) a position, the size of its
            change, which no permutation touches.
        """
        size = (base.exp() * (base - own)).sum(-1)
        if self.permuted is not None:
            order = torch.randperm(base.shape[-1], generator=torch.Generator().manual_seed(self.permuted))
            own = torch.log_softmax(base + (own - base)[..., order.to(base.device)], -1)
        return own, size


Scouts = Scout | Path | str | Sequence[Scout | Path | str]


@contextlib.contextmanager
def as_scout(model: Any, folder: Path | str) -> Iterator[Any]:
    """The model with another adapter switched on for a moment; its own comes back untouched.

    Args:
        model: PEFT model.
        folder: Of the scout's adapter, of any kind that PEFT can put beside the model's own.

    Raises:
        CannotAttach: it cannot be switched on beside the adapter in training.
        BadInput, ShapeMismatch: the folder cannot be read, or is of another base.
    """
    check_switchable(model, "a guard with a scout", error=CannotAttach)
    opened = open_folder(Path(folder))
    if beyond_plain(opened.config, experts=True) is None and is_plain(opened):
        _check_plain_scout(opened, model)
    if needs_originals(opened.config):
        raise CannotAttach(
            f"the scout {str(opened.folder)!r} starts with init_lora_weights={opened.config['init_lora_weights']!r}, which moves "
            "the base's own weights, so it cannot be switched off again. Train the scout with init_lora_weights=True"
        )
    name, active, main = "despur_scout", list(model.active_adapters), model.active_adapter
    with same_flags(model), evaluating(model):
        try:
            _add(model, opened, name)
            model.set_adapter(name)
            model.eval()  # the scout's own modules, too
            yield model
        finally:
            if model.active_adapter != main:
                model.set_adapter(main)
            model.base_model.set_adapter(active)  # several may have been on, which PEFT's own set_adapter cannot say
            model.active_adapter = main
            if name in model.peft_config:
                model.delete_adapter(name)


def _check_plain_scout(opened: Opened, model: Any) -> None:
    """Before anything is loaded: it was trained, and on this base."""
    adapter = plain_adapter(opened, model)
    if set(adapter.updates) <= set(map_shapes(base_modules(model, shared=True))) or not _has_older_names(model):
        adapter.check(model)


def _has_older_names(model: Any) -> bool:
    """Whether PEFT may know what the names of an older form of this architecture are now."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    kind = getattr(getattr(model, "config", None), "model_type", None)
    return get_checkpoint_conversion_mapping(kind) is not None


def _add(model: Any, opened: Opened, name: str) -> None:
    try:
        put = put_on(model, opened, name)
        recorded = opened.record.get("base_fingerprint")
        if recorded is not None and recorded != fingerprint(model):
            raise ShapeMismatch("it records the fingerprint of another base")
        if trained_copies(put.own, base_weights(model, tied=True), opened):
            raise BadInput("it has trained embeddings beside its adapter, which cannot be switched off again")
    except DespurError as error:
        raise CannotAttach(
            f"the scout {str(opened.folder)!r} cannot be switched on beside the adapter in training: {error}. Train a scout of plain "
            "LoRA on linear maps with the same script: no DoRA, no modules_to_save, no trained tokens or biases"
        ) from error
