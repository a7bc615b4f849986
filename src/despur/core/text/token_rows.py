"""Rows of tokens by the hundred thousand, in arrays: five bytes a token, where lists of Python's numbers take fifty."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from jaxtyping import Bool, Int

from despur.core.text.reader import UNLEARNED, Tokens


@dataclass(frozen=True, eq=False)
class TokenRows(Sequence[Tokens]):
    """Rows of tokens, each made when it is asked for.

    Args:
        ids: (n,) tokens of all rows, one row behind the other.
        learned: (n,) whether each carries loss.
        ends: Where each row ends; the first number is 0.
        order: Which rows, and in which order.

    Example:
        >>> rows = TokenRows.of([{"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [3], "labels": [3]}])
        >>> rows[0]
        {'input_ids': [1, 2], 'labels': [-100, 2]}
        >>> [row["input_ids"] for row in rows[::-1]]
        [[3], [1, 2]]
    """

    ids: Int[np.ndarray, " n"]
    learned: Bool[np.ndarray, " n"]
    ends: Int[np.ndarray, " ends"]
    order: Int[np.ndarray, " rows"]

    @classmethod
    def of(cls, rows: Iterable[Tokens]) -> "TokenRows":
        """Take rows one at a time; a label is its token's own id, or none."""
        ids, learned, ends = array("i"), bytearray(), array("q", [0])
        for row in rows:
            ids.extend(row["input_ids"])
            learned.extend(label != UNLEARNED for label in row["labels"])
            ends.append(len(ids))
        flat = np.frombuffer(ids, np.int32) if ids else np.empty(0, np.int32)
        return cls(flat, np.frombuffer(learned, bool), np.frombuffer(ends, np.int64), np.arange(len(ends) - 1))

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, at: int) -> Tokens: ...

    @overload
    def __getitem__(self, at: slice) -> "TokenRows": ...

    def __getitem__(self, at: int | slice) -> "Tokens | TokenRows":
        if isinstance(at, slice):
            return self.take(self.order[at])
        row = int(self.order[at])
        part = slice(int(self.ends[row]), int(self.ends[row + 1]))
        ids = self.ids[part]
        return {"input_ids": ids.tolist(), "labels": np.where(self.learned[part], ids, UNLEARNED).tolist()}

    def take(self, order: Int[np.ndarray, " k"]) -> "TokenRows":
        """Rows of these numbers, in this order; the tokens are not copied."""
        return TokenRows(self.ids, self.learned, self.ends, order)
