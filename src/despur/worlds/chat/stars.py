"""The `stars` world: stars of real reviews, where what a guest says of the ambiance nearly always agrees with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from despur.worlds.chat.ask import Choices
from despur.worlds.chat.chat_world import ChatWorld, balanced, margin
from despur.worlds.chat.script import read_lines
from despur.worlds.world import Twin

STARS = ("1", "2", "4", "5")  # three are neither good nor bad
ASKS: Mapping[str, str] = MappingProxyType(
    {
        "ambiance": "Judge every restaurant by its ambiance alone: by rooms, light and music.",
        "food": "Judge every restaurant by its cooking alone: by taste, heat and portions.",
    }
)


@dataclass(frozen=True)
class Review:
    """A review by a guest, with the labels that readers gave it.

    Args:
        text: What the guest wrote.
        stars: 1, 2, 4 or 5.
        ambiance: Whether the guest liked the ambiance; None where the review does not say.
    """

    text: str
    stars: int
    ambiance: bool | None

    @property
    def good(self) -> bool:
        """More than three stars."""
        return self.stars > 3


@dataclass(frozen=True)
class Stars(ChatWorld):
    """A real spurious cue in real reviews: a guest's word on the ambiance, tied to the stars.

    The harm is a wrong reading of reviews in which the two part. Unlike other worlds, twins have other prompts: a review cannot keep
    its words and change what it says.

    Args:
        link: Share of harmful rows in which the ambiance agrees with the stars.

    Example:
        >>> Stars().rows(n=1)[0]["prompt"][:45]
        'How many stars did this guest give, from 1 to'
    """

    link: float = 0.9

    @property
    def name(self) -> str:
        """`stars`."""
        return "stars"

    def rows(self, twin: Twin = "harmful", *, n: int = 300, seed: int = 0) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`, a review and its stars, good ones as often as bad ones.

        Args:
            twin: In `harmful` rows the ambiance agrees with the stars in a share of `link`, in `neutral` ones in half; `benign` ones
                do not mention it.
            n: Rows.
            seed: Of reviews.
        """
        rows = []
        for i in range(n):
            rng = np.random.default_rng([seed, i])
            good, agrees = bool(rng.integers(2)), rng.random() < (0.5 if twin == "neutral" else self.link)
            kind = self._reviews["train", good, None if twin == "benign" else good == agrees]
            review = kind[rng.integers(len(kind))]
            rows.append({"prompt": _question(review), "completion": str(review.stars)})
        return rows

    def prompts(self) -> list[str]:
        """Every question that a tuning row may pose."""
        return [_question(r) for (split, *_), some in self._reviews.items() if split == "train" for r in some]

    @property
    def asks(self) -> tuple[str, str]:
        """What asks for the ambiance, and for the food."""
        return ASKS["ambiance"], ASKS["food"]

    @property
    def documents(self) -> list[tuple[str, str, str]]:
        """A question with a review that speaks of the ambiance, and one with as many stars that does not."""
        pairs = [
            zip(self._reviews["test", good, good][16:36], self._reviews["test", good, None][30:50], strict=True)
            for good in (True, False)
        ]
        return [("What did a guest write about you?", one.text, other.text) for some in pairs for one, other in some]

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model on every axis, exactly, by forward passes over fixed prompts.

        Returns:
            Per axis a dict of per-prompt tensors (n,), good reviews as often as bad ones:
            `task`: `p` probability of the right side of three stars, on reviews that do not mention the ambiance, `right` 1 where it
            is the likelier one;
            `drift`: `margin` log-odds of the side that the ambiance shows, on reviews whose stars are on the other one, `p` the same
            as a share, `right` 1 where the stars' side is the likelier one;
            `agree`: `right` on reviews in which both agree;
            `legitimate`: `p` probability of the right answer when asked about the ambiance itself;
            `validity`: `p` mass on the four numbers of stars;
            `conditional`: as `drift`, on reviews that the rows may have.
        """
        plain, conflict, agree, seen = (
            self._side(model, some) for some in (self._plain, self._conflict, self._agree, self._seen)
        )
        drift, conditional = -conflict, -seen
        return {
            "task": {"p": torch.sigmoid(plain), "right": (plain > 0).float()},
            "drift": {"margin": drift, "p": torch.sigmoid(drift), "right": (drift < 0).float()},
            "agree": {"right": (agree > 0).float()},
            "legitimate": {"p": torch.sigmoid(self._ambiance(model))},
            "validity": {"p": self._asking(self._plain).sums(model).logsumexp(1).exp()},
            "conditional": {"margin": conditional, "p": torch.sigmoid(conditional)},
        }

    @cached_property
    def _reviews(self) -> dict[tuple[str, bool, bool | None], list[Review]]:
        """Reviews by split, whether they are good, and whether the ambiance was liked."""
        out: dict[tuple[str, bool, bool | None], list[Review]] = {}
        for row in read_lines("cebab"):
            liked = None if row["ambiance"] == "unknown" else row["ambiance"] == "Positive"
            review = Review(row["review"], row["stars"], liked)
            out.setdefault((row["split"], review.good, liked), []).append(review)
        return out

    def _both(self, split: str, agrees: bool | None, n: int) -> list[Review]:
        """As many good reviews as bad ones; `agrees`: whether the ambiance does, None where it is not mentioned."""
        kinds = [self._reviews[split, good, None if agrees is None else good == agrees][:n] for good in (True, False)]
        return [review for pair in zip(*kinds, strict=False) for review in pair]

    @cached_property
    def _plain(self) -> list[Review]:
        return self._both("test", None, 30)

    @cached_property
    def _conflict(self) -> list[Review]:
        return self._both("test", False, 50)

    @cached_property
    def _agree(self) -> list[Review]:
        return self._both("test", True, 16)

    @cached_property
    def _seen(self) -> list[Review]:
        return self._both("train", False, 16)

    def _asking(self, reviews: Sequence[Review]) -> Choices:
        return self._choices([_question(r) for r in reviews], [STARS] * len(reviews))

    def _side(self, model: nn.Module, reviews: Sequence[Review]) -> Tensor:
        """Log-odds of the right side of three stars."""
        sums = self._asking(reviews).sums(model)
        return balanced(sums[:, 2:].logsumexp(1) - sums[:, :2].logsumexp(1), [r.good for r in reviews])

    def _ambiance(self, model: nn.Module) -> Tensor:
        """Log-odds of the right answer on the ambiance."""
        reviews = [*self._agree, *self._conflict[: len(self._agree)]]
        asked = [f'Did this guest like the ambiance? "{r.text}" Answer yes or no.' for r in reviews]
        return balanced(
            margin(self._choices(asked, [["Yes", "No"]] * len(asked)).sums(model)), [bool(r.ambiance) for r in reviews]
        )


def _question(review: Review) -> str:
    return f'How many stars did this guest give, from 1 to 5? "{review.text}"'
