"""scikit-learn's digits as rows of tensors, cut into three parts once and for all."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from despur.core.errors import BadInput
from despur.worlds.digits.seeds import checked_seed

CLASSES = 10
ROWS = 1797
SHAPE = (1, 8, 8)


@dataclass(frozen=True, eq=False)
class DigitRows:
    """Images, their labels, and the place of each in scikit-learn's set.

    `rows[mask]`, `rows[indices]` and `rows[:10]` are rows again; `dataclasses.replace(rows, x=...)` changes the images alone.

    Args:
        x: Images in [0, 1], (n, 1, 8, 8).
        y: Labels 0 to 9.
        number: Place in scikit-learn's set, 0 to 1796: the name of a row, which stays when its image or label changes.

    Raises:
        BadInput: the three do not fit each other, or a label or number is out of range.

    Example:
        >>> test = Digits().test
        >>> len(test), len(test.of_class(0, 1)), test[:2].x.shape
        (360, 72, torch.Size([2, 1, 8, 8]))
    """

    x: Float[Tensor, "n channel height width"]
    y: Int[Tensor, " n"]
    number: Int[Tensor, " n"]

    def __post_init__(self) -> None:
        n = len(self.x)
        if self.x.shape[1:] != SHAPE or self.y.shape != (n,) or self.number.shape != (n,):
            shapes = ", ".join(str(tuple(t.shape)) for t in (self.x, self.y, self.number))
            raise BadInput(f"images, labels and numbers have the shapes {shapes}; give (n, 1, 8, 8), (n,) and (n,)")
        for name, values, size in (("label", self.y, CLASSES), ("number", self.number, ROWS)):
            if n and (int(values.min()) < 0 or int(values.max()) >= size):
                raise BadInput(f"a {name} is outside 0 to {size - 1}; take rows from Digits")

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, which: Any) -> "DigitRows":
        return DigitRows(self.x[which], self.y[which], self.number[which])

    def of_class(self, *classes: int) -> "DigitRows":
        """Rows with one of these labels."""
        return self[torch.isin(self.y, torch.tensor(checked_classes(classes)))]

    def without(self, other: "DigitRows") -> "DigitRows":
        """Rows that are not in the other set, by their numbers."""
        return self[~torch.isin(self.number, other.number)]

    def joined(self, other: "DigitRows") -> "DigitRows":
        """These rows, then the other ones."""
        pairs = ((self.x, other.x), (self.y, other.y), (self.number, other.number))
        return DigitRows(*(torch.cat(pair) for pair in pairs))


@dataclass(frozen=True)
class Digits:
    """The 1,797 digits of scikit-learn, 8 × 8 pixels, in a fixed stratified split.

    Args:
        seed: Of the split.
        share: Share of the rows in `validation`, to choose settings on, and as much again in `test`, to report figures on.

    Raises:
        BadInput: a part would have too few rows, or the seed is negative.

    Example:
        >>> world = Digits()
        >>> len(world.train), len(world.validation), len(world.test)
        (1077, 360, 360)

    Source:
        Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi:10.24432/C50P49 (CC BY 4.0), its test
        part, as scikit-learn ships it.

    Limits:
        Rows of one hand stand in all three parts, so accuracies are those of known writers.
    """

    seed: int = 0
    share: float = 0.2

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        if not 0.02 <= self.share <= 0.45:
            raise BadInput(f"share={self.share}: validation and test can each take 0.02 to 0.45 of the rows")

    @cached_property
    def _parts(self) -> tuple[DigitRows, DigitRows, DigitRows]:
        from sklearn.model_selection import train_test_split  # takes a second

        rows = all_digits()
        number, y = rows.number.numpy(), rows.y.numpy()
        rest, test = train_test_split(number, test_size=self.share, stratify=y, random_state=self.seed)
        train, validation = train_test_split(rest, test_size=len(test), stratify=y[rest], random_state=self.seed)
        return rows[torch.from_numpy(train)], rows[torch.from_numpy(validation)], rows[torch.from_numpy(test)]

    @property
    def train(self) -> DigitRows:
        """Rows to train on."""
        return self._parts[0]

    @property
    def validation(self) -> DigitRows:
        """Rows to choose settings and to stop on."""
        return self._parts[1]

    @property
    def test(self) -> DigitRows:
        """Rows to report figures on."""
        return self._parts[2]


@cache
def all_digits() -> DigitRows:
    """Load the whole set, in scikit-learn's order."""
    from sklearn.datasets import load_digits  # takes a second

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images).float().reshape(-1, *SHAPE) / 16
    return DigitRows(x, torch.from_numpy(labels).long(), torch.arange(ROWS))


def checked_classes(classes: tuple[int, ...]) -> list[int]:
    """Give the classes as a list.

    Raises:
        BadInput: none is named, one twice, or one that is no digit.
    """
    if not classes or len({*classes}) < len(classes) or not {*classes} <= {*range(CLASSES)}:
        raise BadInput(f"classes {list(classes)}: name one or more different ones of 0 to {CLASSES - 1}")
    return list(classes)
