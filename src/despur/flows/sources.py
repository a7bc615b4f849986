"""Where materials come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from despur.core.model.own_text import OwnText
from despur.core.text.rows import Tokens
from despur.core.text.template import Template

Tokenized = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Sources:
    """Where materials come from; what is None is not available.

    Args:
        base: The plain base, only to be read.
        load: The base under a saved adapter.
        rows: The training rows as tokens.
        text: Own text: makes it.
        scout: Folder of the scout of that number, 0 the first: trains it.
        beginnings: Very many questions of the base's own, and how it begins to answer them: makes them.
        shuffled: Folder of the shuffled scout, or of several: trains them.
        generic: Generic text.
        pairs: Texts with the trait and without.
        naming: A prompt that asks for the trait, and one of the same length that asks for something else.
        template: The tokens of the base's chat template.
        adapters: Name -> folder of a finished adapter: `adapter`, `bad`, `good`, `aligned`.
    """

    base: Callable[[], nn.Module]
    load: Callable[[Path], Any]
    rows: Callable[[], Sequence[Tokens]]
    text: Callable[[], OwnText]
    scout: Callable[[int], Path]
    beginnings: Callable[[], OwnText] | None = None
    shuffled: Callable[[], Path | tuple[Path, ...]] | None = None
    generic: Callable[[], OwnText] | None = None
    pairs: Callable[[], tuple[Tokenized, Tokenized]] | None = None
    naming: Callable[[], tuple[Sequence[int], Sequence[int]]] | None = None
    template: Callable[[], Template] | None = None
    adapters: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
