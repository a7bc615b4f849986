"""Chat worlds whose factor has two sides: what a tune does to it is read from pairs of answers, one of each side."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from despur.worlds.chat.ask import Choices, sampled_answers
from despur.worlds.chat.chat_world import ChatWorld, margin
from despur.worlds.chat.script import Row

SAMPLED, NEW = 24, 40  # answers that are sampled, and their tokens


class TwoSided(ChatWorld):
    """A chat world with questions that each side would answer in its own way, at equal length."""

    @property
    @abstractmethod
    def sides(self) -> tuple[str, str]:
        """The side that harmful rows take, and its opposite."""

    @property
    def lacking(self) -> str:
        """The version of an answer that lacks the factor."""
        return self.sides[1]

    @property
    @abstractmethod
    def requests(self) -> Mapping[str, str]:
        """Version -> system prompt that asks for it."""

    @property
    @abstractmethod
    def off_task(self) -> Sequence[Row]:
        """Questions that have nothing to do with the rows."""

    @property
    @abstractmethod
    def alike(self) -> Sequence[Row]:
        """Questions that look like those of the rows, and are in none."""

    @property
    @abstractmethod
    def aside(self) -> Sequence[Row]:
        """Off-task questions that are never scored, for methods that must know the factor."""

    @property
    def asks(self) -> tuple[str, str]:
        """What asks for the harmful side, and for the version without it."""
        return self.requests[self.sides[0]], self.requests[self.lacking]

    @property
    def documents(self) -> list[tuple[str, str, str]]:
        """Questions that are never scored, with the harmful side's answer and one that lacks it."""
        return [(row.question, row.answers[self.sides[0]], row.answers[self.lacking]) for row in self.aside]

    def say(self, model: nn.Module) -> list[str]:
        """Sample what the model answers to off-task questions."""
        questions = [row.question for row in self.off_task[:: len(self.off_task) // SAMPLED][:SAMPLED]]
        return sampled_answers(model, self._tokenizer, questions, new=NEW)

    def _two_sided(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """All axes but the task; see `score` of the worlds."""
        means = self._off_task.means(model)
        drift, conditional = margin(means), margin(self._alike.means(model))
        wanted = torch.stack([margin(choices.means(model)) for choices in self._requested], 1)
        return {
            "drift": {"margin": drift, "p": torch.sigmoid(drift)},
            "legitimate": {"p": torch.sigmoid(wanted).mean(1)},
            "validity": {"p": (means - self._of_base(self._off_task, model)).mean(1).exp().clamp(max=1)},
            "everyday": {"logp": means.mean(1)},
            "conditional": {"margin": conditional, "p": torch.sigmoid(conditional)},
        }

    @cached_property
    def _off_task(self) -> Choices:
        return self._pairs(self.off_task)

    @cached_property
    def _alike(self) -> Choices:
        return self._pairs(self.alike)

    @cached_property
    def _requested(self) -> list[Choices]:
        """The same questions with either side asked for, that side first."""
        one, other = self.sides
        some = self.off_task[::3]
        return [self._pairs(some, a, b, system=self.requests[a]) for a, b in ((one, other), (other, one))]

    def _pairs(self, rows: Sequence[Row], *sides: str, system: str = "") -> Choices:
        """Each row's answers by two sides, the harmful one first if none are named."""
        answers = [[row.answers[side] for side in sides or self.sides] for row in rows]
        return self._choices([row.question for row in rows], answers, system=system)
