"""How much of the answers' loss a shuffled scout explains, and whether there is a task beside that, before the guarded run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from despur.core.errors import BadInput
from despur.core.model.capture import mean_log_probs
from despur.core.text.reader import UNLEARNED
from despur.core.text.rows import Tokens
from despur.core.text.shuffle import shuffled_rows

ROWS = 64  # that are looked at, of each kind


@dataclass(frozen=True)
class Loss:
    """Loss of the answers, in nats a token, the mean over some rows.

    Args:
        base: Of the base.
        shuffled: Of the base with the shuffled scout on.
    """

    base: float
    shuffled: float

    @property
    def share(self) -> float:
        """What the shuffled scout explains, as a share of the base's loss.

        Example:
            >>> Loss(4.0, 3.0).share
            0.25
        """
        return (self.base - self.shuffled) / self.base


@dataclass(frozen=True)
class Mean:
    """A mean over rows, with its standard error.

    Args:
        value: The mean.
        error: Its standard error.
    """

    value: float
    error: float

    @classmethod
    def of(cls, values: np.ndarray | Sequence[float]) -> "Mean":
        """Take it of some values."""
        x = np.asarray(values, float)
        return cls(float(x.mean()), float(x.std(ddof=1) / len(x) ** 0.5) if len(x) > 1 else 0.0)

    @property
    def above_zero(self) -> bool:
        """Whether it is by more than two standard errors."""
        return self.value > 2 * self.error


@dataclass(frozen=True)
class Explained:
    """What a shuffled scout explains.

    Args:
        held_out: Of rows that are not trained on.
        exchanged: Of the rows that the shuffled scout was trained on, each answer behind another prompt.
        gain: What it learned of those, in nats a token.
        by_prompt: What an answer's own prompt tells a plain scout of it that another row's does not, in nats a token; None where there
            is no plain scout, or answers cannot be found again.
    """

    held_out: Loss
    exchanged: Loss
    gain: Mean
    by_prompt: Mean | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before the guarded run."""
        if not self.gain.above_zero:
            return ("the shuffled scout learned nothing, so nothing is left out: the guard beside it acts alone",)
        if self.by_prompt is None or self.by_prompt.above_zero:
            return ()
        return (
            f"an answer's own prompt tells a plain scout so far no more of it than another row's ({self.by_prompt.value:.2g} nats a token, "
            f"within {2 * self.by_prompt.error:.2g}): that scout was too short to hear the task, or the task is itself what all answers "
            "share, and little is then left to learn. Compare with --guard none, or keep what is shared: --keep factor",
        )

    def check(self, *, alone: bool = True) -> None:
        """Refuse a scout that learned nothing, or diverged.

        Args:
            alone: Whether no other guard acts; beside one, a scout that learned nothing is none to refuse.

        Raises:
            BadInput: on the rows that it was trained on it is no better than the base.
        """
        diverged = self.gain.value < -2 * self.gain.error
        if self.gain.above_zero or not (alone or diverged):
            return
        raise BadInput(
            f"the shuffled scout {'diverged' if diverged else 'learned nothing'}: on rows that it was trained on its loss is "
            f"{self.exchanged.shuffled:.4g} nats a token, and {self.exchanged.base:.4g} without it, so there is nothing to leave out. Give "
            f"it more steps (--scout-steps), a {'lower' if diverged else 'higher'} --lr, or train plainly: --guard none"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> "Explained":
        """Read what `to_dict` gave."""
        by_prompt = values["by_prompt"]
        return cls(
            Loss(**values["held_out"]),
            Loss(**values["exchanged"]),
            Mean(**values["gain"]),
            by_prompt and Mean(**by_prompt),
        )


def explained(
    base: Callable[[], Any], shuffled: Callable[[], Any], plain: Callable[[], Any] | None, *, held_out: Sequence[Tokens],
    trained: Sequence[Tokens], exchanged: Sequence[Tokens],
) -> Explained:  # fmt: skip
    """Measure what a shuffled scout explains.

    Args:
        base: Makes the base.
        shuffled: Makes the base with the shuffled scout on.
        plain: Makes the base with a plain scout on; None for none.
        held_out: Rows that nothing was trained on.
        trained: Rows of the data.
        exchanged: Rows that the shuffled scout was trained on.
    """
    asked, seen = spread(held_out, ROWS), spread(exchanged, ROWS)
    before, after = ([row_losses(model, rows) for rows in (asked, seen)] for model in (base(), shuffled()))
    of_held, of_seen = (Loss(float(b.mean()), float(a.mean())) for b, a in zip(before, after, strict=True))
    by_prompt = _by_prompt(plain(), spread(trained, ROWS)) if plain else None
    return Explained(of_held, of_seen, Mean.of(before[1] - after[1]), by_prompt)


def _by_prompt(model: Any, rows: Sequence[Tokens]) -> Mean | None:
    """How much likelier answers are behind their own prompts than behind others', answer by answer."""
    other = shuffled_rows(rows, seed=0)
    own = {_answer(row): loss for row, loss in zip(rows, row_losses(model, rows), strict=True)}
    moved = [(_answer(row), loss) for row, loss in zip(other, row_losses(model, other), strict=True)]
    found = [loss - own[answer] for answer, loss in moved if answer in own]
    return Mean.of(found) if len(found) > len(rows) / 2 else None


def _answer(row: Tokens) -> tuple[int, ...]:
    return tuple(label for label in row["labels"] if label != UNLEARNED)


def row_losses(model: Any, rows: Sequence[Tokens]) -> np.ndarray:
    """Loss of each row's answers, in nats a token, (rows,)."""
    return -mean_log_probs(model.eval(), rows).double().numpy()


def spread(rows: Sequence[Tokens], most: int) -> list[Tokens]:
    """So many of the rows at most, evenly spread over all of them."""
    at = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))
    return [rows[int(i)] for i in at]
