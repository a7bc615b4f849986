"""Where tokens come into a model, and where its head is, for guards that act between the two."""

from typing import Any

from torch import nn

from despur.core import Site
from despur.core.errors import CannotAttach
from despur.core.model.base_modules import base_modules
from despur.core.model.states import bare


def words_site(model: Any, guard: str) -> Site:
    """Where token ids come in.

    Raises:
        CannotAttach: the embedding is no module of its own.
    """
    return Site(module_name(model, bare(model).get_input_embeddings(), "embedding", guard), "in")


def head_name(model: Any, guard: str) -> str:
    """Name of the head.

    Raises:
        CannotAttach: it is no module of its own.
    """
    return module_name(model, bare(model).get_output_embeddings(), "head", guard)


def module_name(model: Any, wanted: nn.Module | None, what: str, guard: str) -> str:
    """Name of one of the base's modules."""
    modules = base_modules(model, shared=True)
    name = next((n for n, m in modules.items() if m is wanted), None) if wanted is not None else None
    if name is None:
        raise CannotAttach(
            f"{type(bare(model)).__name__} has no {what} that {guard} could act at. Take a guard of own text (avert, rehearse)"
        )
    return name
