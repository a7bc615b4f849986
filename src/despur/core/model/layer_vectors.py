"""A base with a vector behind each of its layers: the smallest tune that has a say everywhere."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.model.anatomy import Anatomy
from despur.core.model.around import AroundBase
from despur.core.model.attach import attach
from despur.core.types import Context, Edit, Site


@final
class LayerVectors(AroundBase):
    """Adds a trained vector to the stream behind each layer; is its base inside `disable_adapter()`, as a PeftModel is.

    It has layers times width numbers, zero at first, the same for every token: so it can learn a habit, and hardly a fact. The base's own
    weights are frozen.

    Args:
        model: The base; its layers keep a hook, so give a copy of which nothing else is wanted (`shared_copy`).

    Example:
        >>> from despur.testing import tiny_base
        >>> {site.module: vector.shape for site, vector in LayerVectors(tiny_base()).vectors.items()}
        {'model.layers.0': torch.Size([32]), 'model.layers.1': torch.Size([32])}
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        anatomy = Anatomy.of(model)
        model.requires_grad_(False)
        where = next(model.parameters()).device
        self.added = nn.ModuleList(_Added(anatomy.width, where) for _ in anatomy.sites)
        self._sites = anatomy.sites
        self._hooked = contextlib.ExitStack()  # for as long as the model lives
        self._hooked.enter_context(attach(model, dict(zip(self._sites, self.added, strict=True))))  # type: ignore[arg-type]

    @property
    def vectors(self) -> dict[Site, Float[Tensor, " d"]]:
        """Site -> what is added there."""
        return {site: edit.shift.detach() for site, edit in zip(self._sites, self.added, strict=True)}  # type: ignore[union-attr]

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Be the base while the block runs; nested use is fine."""
        before = [edit.on for edit in self.added]
        try:
            for edit in self.added:
                edit.on = False  # type: ignore[assignment]
            yield
        finally:
            for edit, on in zip(self.added, before, strict=True):
                edit.on = on


class _Added(Edit):
    point = "activation"

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(width, device=device))
        self.on = True

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return {name: x + self.shift.to(x.dtype) if self.on else x for name, x in tensors.items()}
