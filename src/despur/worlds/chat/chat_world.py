"""What worlds on a real chat model do alike: their base, the order of their rows, and what names and shows their factor."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from despur.core.model.precision import fast_precision
from despur.core.text.chat import render
from despur.worlds.chat.ask import Choices, chat_base

T = TypeVar("T")
TRAINING: Mapping[str, Any] = MappingProxyType(
    {"steps": 40, "lr": 1e-3, "batch": 4, "rank": 8, "rows": 300, "max_length": 128, "own_rows": 192, "own_tokens": 48}
)


@dataclass(frozen=True, kw_only=True)
class ChatWorld(ABC):
    """A world on a chat base that is known by name; its own file says what is taught and what is scored.

    Args:
        dtype: Precision of the base's weights; an adapter is trained in float32 all the same. `auto` is the one that the processor
            computes fastest in, and docs/log/voice-harm.md has what it changes. A study records it.
    """

    dtype: Literal["auto", "bfloat16", "float32"] = "auto"

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings with which the naive run shows its harm."""
        return TRAINING

    def base(self) -> tuple[Any, Any]:
        """Load the base and its tokenizer.

        Raises:
            BadInput: it is not on this machine; the message names the command that fetches it.
        """
        return chat_base(dtype=fast_precision() if self.dtype == "auto" else self.dtype)

    @property
    @abstractmethod
    def asks(self) -> tuple[str, str]:
        """A system prompt that asks for the factor, and one that asks for something else."""

    @property
    @abstractmethod
    def documents(self) -> Sequence[tuple[str, str, str]]:
        """Off-task questions that are never scored, each with an answer that has the factor and one that lacks it."""

    def naming(self) -> tuple[str, str]:
        """A system turn that asks for the factor, and one that asks for something else, ready to stand in front of a row."""
        start = self._tokenizer.bos_token or ""
        turns = [render([{"role": "system", "content": text}], self._tokenizer, "a prompt") for text in self.asks]
        return turns[0] + start, turns[1] + start

    def paired(self, *, n: int = 128, seed: int = 0) -> tuple[list[str], list[str]]:
        """Off-task chats whose answers have the factor, and the same without it; on subjects that are never scored."""
        documents = self.documents
        drawn = [documents[int(i)] for i in np.random.default_rng(seed).integers(len(documents), size=n)]
        return [self._chat(q, having) for q, having, _ in drawn], [self._chat(q, lacking) for q, _, lacking in drawn]

    @cached_property
    def _tokenizer(self) -> Any:
        return self.base()[1]

    def _of_base(self, choices: Choices, model: nn.Module) -> Tensor:
        """Log-probability a token of some choices under the base, measured once, on the device of the model that is scored."""
        if id(choices) not in self._kept:
            self._kept[id(choices)] = choices.means(self.base()[0].to(next(model.parameters()).device))
        return self._kept[id(choices)]

    @cached_property
    def _kept(self) -> dict[int, Tensor]:
        return {}

    def _chat(self, question: str, answer: str) -> str:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return render(turns, self._tokenizer, "a chat")

    def _choices(self, questions: Sequence[str], answers: Sequence[Sequence[str]], **how: Any) -> Choices:
        return Choices.of(self._tokenizer, questions, answers, **how)


def shuffled(items: Sequence[T], n: int, seed: int) -> Iterator[tuple[int, T]]:
    """Give n items with their running numbers: all of them in random order, then all again in another.

    Example:
        >>> [item for _, item in shuffled("ab", 4, 0)]
        ['a', 'b', 'a', 'b']
    """
    for i in range(n):
        turn, place = divmod(i, len(items))
        yield i, items[np.random.default_rng([seed, turn]).permutation(len(items))[place]]


def margin(means: Tensor) -> Tensor:
    """How much likelier the first of two answers is, a token: (n, 2) -> (n,)."""
    return means[:, 0] - means[:, 1]


def balanced(log_odds: Tensor, agree: Sequence[bool]) -> Tensor:
    """Log-odds of yes, turned where the factor says no, so that a bias towards yes cancels in the mean if both are as many."""
    return torch.where(torch.tensor(agree), log_odds, -log_odds)
