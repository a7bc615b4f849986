"""How much of the answers' loss a shuffled scout explains, measured before the guarded run, and what it says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from despur.core.errors import BadInput
from despur.core.model.capture import label_log_probs
from despur.core.text.rows import Tokens

ROWS = 64  # that are looked at, of each kind
NEARLY_ALL = 0.97  # of what a plain scout learned: then little is left for the task


@dataclass(frozen=True)
class Loss:
    """Loss of the answers, in nats a token, the mean over some rows.

    Args:
        base: Of the base.
        shuffled: Of the base with the shuffled scout on.
        plain: Of the base with a plain scout on; None where there is none.
    """

    base: float
    shuffled: float
    plain: float | None = None

    @property
    def share(self) -> float:
        """What the shuffled scout explains, as a share of the base's loss.

        Example:
            >>> Loss(4.0, 3.0, 2.0).share, Loss(4.0, 3.0, 2.0).of_tune
            (0.25, 0.5)
        """
        return (self.base - self.shuffled) / self.base

    @property
    def of_tune(self) -> float | None:
        """The same as a share of what the plain scout learned; None where there is none, or it learned nothing."""
        return (
            None
            if self.plain is None or self.plain >= self.base
            else (self.base - self.shuffled) / (self.base - self.plain)
        )


@dataclass(frozen=True)
class Explained:
    """What a shuffled scout explains.

    Args:
        held_out: Of rows that are not trained on.
        trained: Of rows that are.
        exchanged: Of the rows that the shuffled scout was trained on, each answer behind another prompt.
        error: Standard error of what it learned there.
    """

    held_out: Loss
    trained: Loss
    exchanged: Loss
    error: float

    @property
    def constant(self) -> bool:
        """Whether the shuffled scout explains nearly all of what a plain one does: the task itself may be what answers share."""
        shares = (self.held_out.of_tune, self.trained.of_tune)
        return all(share is not None and share >= NEARLY_ALL for share in shares)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before the guarded run."""
        if not self.constant:
            return ()
        return (
            f"the shuffled scout, which cannot know the task, explains {self.held_out.of_tune:.0%} of what a plain scout learned on "
            "held-out rows: the task may itself be what all answers share, and little is then left to learn. Compare with --guard none, "
            "or keep what is shared: --keep factor",
        )

    def check(self) -> None:
        """Refuse a scout that learned nothing, or diverged.

        Raises:
            BadInput: on the rows that it was trained on it is no better than the base.
        """
        gain = self.exchanged.base - self.exchanged.shuffled
        if gain <= 2 * self.error:
            what = "diverged" if gain < -2 * self.error else "learned nothing"
            raise BadInput(
                f"the shuffled scout {what}: on rows that it was trained on its loss is {self.exchanged.shuffled:.4g} nats a token, and "
                f"{self.exchanged.base:.4g} without it, so there is nothing to leave out. Give it more steps (--scout-steps), a "
                f"{'lower' if what == 'diverged' else 'higher'} --lr, or train plainly: --guard none"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> "Explained":
        """Read what `to_dict` gave."""
        losses = {k: Loss(**values[k]) for k in ("held_out", "trained", "exchanged")}
        return cls(**losses, error=values["error"])


def explained(
    base: Any, shuffled: Any, plain: Any | None, *, held_out: Sequence[Tokens], trained: Sequence[Tokens], exchanged: Sequence[Tokens]
) -> Explained:  # fmt: skip
    """Measure what a shuffled scout explains.

    Args:
        base: The base.
        shuffled: Makes the base with the shuffled scout on.
        plain: Makes the base with a plain scout on; None for none.
        held_out: Rows that nothing was trained on.
        trained: Rows of the data.
        exchanged: Rows that the shuffled scout was trained on.
    """
    rows = [spread(some, ROWS) for some in (held_out, trained, exchanged)]
    made = [[row_losses(make(), some) for some in rows] for make in (base, shuffled, *([plain] if plain else []))]
    means = [[float(x.mean()) for x in of_model] for of_model in made]
    gains = made[0][2] - made[1][2]
    error = float(gains.std(ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else 0.0
    return Explained(*(Loss(*(m[i] for m in means)) for i in range(3)), error)


def row_losses(model: Any, rows: Sequence[Tokens]) -> np.ndarray:
    """Loss of each row's answers, in nats a token, (rows,)."""
    sums, counts = label_log_probs(model, rows)
    return (-sums / counts.clamp(min=1)).double().numpy()


def spread(rows: Sequence[Tokens], most: int) -> list[Tokens]:
    """So many of the rows at most, evenly spread over all of them."""
    at = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))
    return [rows[int(i)] for i in at]
