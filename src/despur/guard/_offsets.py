"""What a guard adds where the head reads, row by row."""

from collections.abc import Iterator, Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens
from despur.guard._lines import room

Row = tuple[int, ...]


@final
class Offsets(Mapping[Row, Tensor]):
    """Row -> what is added at each of its tokens, (t, d); zero until something is added, and wherever nothing is learned.

    A token that predicts one which is learned takes 2 d bytes, in bfloat16; all others take none.

    Args:
        rows: What is learned; of rows with the same tokens the last counts.
        width: d.

    Raises:
        CannotAttach: neither memory nor disk has room.

    Example:
        >>> offsets = Offsets([{"input_ids": [1, 2], "labels": [-100, 2]}], width=3)
        >>> offsets.add((1, 2), torch.ones(2, 3))
        >>> offsets[1, 2].tolist()
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, rows: Sequence[Tokens], width: int) -> None:
        self.width = width
        self._where: dict[Row, tuple[slice, list[int]]] = {}  # its lines, and the positions that they stand for
        n = 0
        for row in {tuple(row["input_ids"]): row for row in rows}.values():
            learned = [i for i, label in enumerate(row["labels"][1:]) if label != UNLEARNED]
            self._where[tuple(row["input_ids"])] = slice(n, n + len(learned)), learned
            n += len(learned)
        what, instead = f"discount's offsets of {n:,} learned tokens", ", or take absorb, which keeps none"
        self.lines = room({"offsets": ((n, width), torch.bfloat16)}, what=what, instead=instead)["offsets"]

    def add(self, row: Row, change: Float[Tensor, "t d"]) -> None:
        """Add to a row's offsets."""
        lines, learned = self._where[row]
        self.lines[lines] += change[learned].to(self.lines)

    def __getitem__(self, row: Row) -> Float[Tensor, "t d"]:
        lines, learned = self._where[row]
        whole = torch.zeros(len(row), self.width)
        whole[learned] = self.lines[lines].float()
        return whole

    def __iter__(self) -> Iterator[Row]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)
