"""The constant tokens that a chat template puts around a user's words."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from despur.core.errors import BadInput
from despur.core.text.chat import MARK, has_template, render

# alike at neither end, so that what all of them share is the template's
_WORDS = (
    "How do I boil an egg?", "Name three cities by the sea.", "what is a good way to fall asleep", "Tell me a joke!",
    "5 ideas for a rainy day", "Write two lines about winter: short ones", "Is the Moon larger than Mars", "Plan a picnic (cheap)",
)  # fmt: skip


def common_start(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The tokens that all rows begin with.

    Example:
        >>> common_start([(1, 5, 7), (1, 5), (1, 5, 8)])
        (1, 5)
    """
    alike = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return tuple(column[0] for column in alike)


@dataclass(frozen=True)
class Template:
    """Tokens of a chat that are the same whatever the user says.

    Args:
        prefix: In front of the user's words.
        tail: Behind them, up to where the answer begins.
        asked: A few everyday questions, each in the template: prefix, words, tail.

    Raises:
        BadInput: no token stands in front of the user's words.

    Example:
        >>> Template((1, 5), (7,)).parts((1, 5, 20, 21, 7, 30), begin=5)
        {'prefix': range(0, 2), 'question': range(2, 4), 'tail': range(4, 5)}
    """

    prefix: tuple[int, ...]
    tail: tuple[int, ...] = ()
    asked: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.prefix:
            raise BadInput(
                "the chat template puts no token in front of the user's words, so it has no prefix. Choose another guard"
            )

    @classmethod
    def of(cls, tokenizer: Any) -> "Template":
        """Read off a tokenizer's chat template, as it renders one question to be answered.

        Args:
            tokenizer: A transformers tokenizer.

        Raises:
            BadInput: it has no chat template, or the template has no constant beginning.
        """
        if not has_template(tokenizer):
            raise BadInput(
                "the tokenizer has no chat template, so there are no constant tokens to hold. Choose another guard, or put a "
                "chat_template.jinja into the base's folder"
            )
        before, mark, behind = _rendered(MARK, tokenizer).partition(MARK)
        if not mark:
            raise BadInput(
                "the chat template does not write what the user says. Put another chat_template.jinja into the base's folder"
            )
        asked = [_ids(_rendered(words, tokenizer), tokenizer) for words in _WORDS]
        # words may begin and end alike, where a tokenizer knows none of them
        front, back = (len(_ids(text, tokenizer)) for text in (before, behind))
        prefix = common_start(asked)[:front]
        tail = common_start([row[len(prefix) :][::-1] for row in asked])[:back][::-1]
        return cls(prefix, tail, tuple(asked))

    def parts(self, row: Sequence[int], begin: int) -> dict[str, range] | None:
        """Positions of a row that prefix, question and tail, if any, take; None where it does not have this template's tokens.

        Args:
            row: Token ids.
            begin: Position at which the answer begins.
        """
        front, end = len(self.prefix), begin - len(self.tail)
        if end <= front or tuple(row[:front]) != self.prefix or tuple(row[end:begin]) != self.tail:
            return None
        parts = {"prefix": range(front), "question": range(front, end), "tail": range(end, begin)}
        return {part: at for part, at in parts.items() if at}


def _rendered(words: str, tokenizer: Any) -> str:
    return render([{"role": "user", "content": words}], tokenizer, "a question", ask=True)


def _ids(text: str, tokenizer: Any) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
