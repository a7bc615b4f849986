"""Which stretches of a rendered chat are learned: the assistant's turns, each from where the model is asked to where it stops."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from despur.core.errors import BadInput
from despur.core.text.chat import MARK, render
from despur.core.text.row_shapes import has_answer

Turns = Literal["all", "last"]
_OPENED = re.compile(r"(<|\[)(think|thinking|thought|reasoning|reason|analysis)(>|\])\s*$", re.IGNORECASE)
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # where messages carry them beside the content


@dataclass
class Rendering:
    """A row as text.

    Args:
        text: All of it.
        spans: Learned stretches, in order.
        remarks: What its notes must say, by kind.
        chat: Whether a template rendered it.
        marked: Whether the template's own marks of the answers hold for this text.
    """

    text: str
    spans: list[tuple[int, int]]
    remarks: set[str] = field(default_factory=set)
    chat: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Chats:
    """Chats of one template.

    Text in front of a learned stretch is what the model gets when it is asked: the chat so far, and the generation prompt. Where
    a template opens an answer in another way than it renders one (`<think>`), the last answer is rendered as asked, and earlier
    ones, which the model then sees in another form, are not learned.

    Args:
        tokenizer: Its tokenizer.
        turns: Whether all the assistant's turns are learned or the last alone. One with `weight` 0 is not.
        marks: Texts of the special tokens.
        ends: Those that end a turn.
    """

    tokenizer: Any
    turns: Turns
    marks: tuple[str, ...]
    ends: tuple[str, ...]

    def rendering(self, row: Mapping[str, Any], where: str) -> Rendering:
        """Render a chat and find what is learned of it.

        Args:
            row: With `messages`.
            where: Which row, for messages.

        Raises:
            BadInput: the template refuses the chat, or its answer cannot be told from the prompt.
        """
        messages = row["messages"]
        rendering = Rendering(render(messages, self.tokenizer, where, row=row), [], chat=True, marked=True)
        if row.get("tools") and render(messages, self.tokenizer, where, row={**row, "tools": None}) == rendering.text:
            rendering.remarks.add("tools")
        assistants = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        answers = [i for i in assistants if has_answer(messages[i]) and learned(messages[i])]
        if self.turns == "last":
            answers = answers[-1:]
        if answers[-1:] == [len(messages) - 1]:
            self._last(rendering, row, where)
        earlier = [self._earlier(rendering, row, i) for i in answers if i != len(messages) - 1]
        rendering.spans[:0] = [span for span in earlier if span is not None]
        if None in earlier:
            rendering.remarks.add("skipped")
        elif len(assistants) > 1:
            rendering.remarks.add("several")
        if None in earlier or len(answers) < len(assistants):  # the template's own marks know nothing of that
            rendering.marked = False
        if not rendering.spans:
            raise BadInput(f"{where}: nothing of the chat is learned: no answer has words and a weight. Drop the row")
        return rendering

    def _last(self, rendering: Rendering, row: Mapping[str, Any], where: str) -> None:
        messages = row["messages"]
        asked = render(messages[:-1], self.tokenizer, where, ask=True, row=row)
        words = messages[-1].get("content") or ""
        if not rendering.text.startswith(asked):
            rendering.text = asked + _answer(asked, messages, self.tokenizer, where, row)
            rendering.remarks.add("opened")
            rendering.marked = False
        start, end = len(asked), self._stop(rendering.text, len(asked), len(rendering.text))
        if not self._words(rendering.text[start:end]):
            what = f"the answer {words[:40]!r}" if words.strip() else "an answer of 'tool_calls'"
            raise BadInput(
                f"{where}: the chat template renders nothing of {what}. Drop the row, or put another chat_template.jinja into "
                "the base's folder"
            )
        opened = max(0, start - 24)  # a thought's mark may be of the prompt
        if _squeezed(words) not in _squeezed(rendering.text[opened:]) and "opened" not in rendering.remarks:
            rendering.remarks.add("changed")
        rendering.spans.append((start, end))

    def _earlier(self, rendering: Rendering, row: Mapping[str, Any], i: int) -> tuple[int, int] | None:
        """An earlier answer's stretch, if the text in front of it is what the model is asked with."""
        messages, text = row["messages"], rendering.text
        try:
            asked = render(messages[:i], self.tokenizer, "", ask=True, row=row)
            so_far = render(messages[: i + 1], self.tokenizer, "", row=row)
        except BadInput:  # a template that takes no chat of this length
            return None
        if not text.startswith(asked):
            return None
        start = len(asked)
        if text.startswith(so_far):
            end = self._stop(text, start, len(so_far))
        else:  # while it is the last one, it is rendered in another way
            end = self._end(text, start, (messages[i].get("content") or "").strip())
        return None if end is None or not self._words(text[start:end]) else (start, end)

    def _end(self, text: str, start: int, words: str) -> int | None:
        if not words:  # calls
            found = [at + len(m) for m in self.ends if (at := text.find(m, start)) >= 0]
            return min(found, default=None)
        at = text.find(words, start)
        if at < 0:
            return None
        end = at + len(words)
        behind = next((m for m in self.marks if text[end:].lstrip().startswith(m)), None)
        return end if behind is None else text.index(behind, end) + len(behind)

    def _stop(self, text: str, start: int, end: int) -> int:
        """Where a turn stops: behind its end token, or at the end of what the template renders."""
        turn = text[start:end].rstrip()
        return start + len(turn) if turn.endswith(self.marks or ("\0",)) else end

    def _words(self, text: str) -> str:
        """What a turn says beside its marks."""
        for mark in self.marks:
            text = text.replace(mark, "")
        return text.strip()


def learned(message: Mapping[str, Any]) -> bool:
    """Whether a message is to be learned: OpenAI's `weight` 0 and axolotl's `train` false say that it is not."""
    return message.get("weight", 1) not in (0, False) and message.get("train", True) is not False


def _answer(asked: str, messages: Sequence[Any], tokenizer: Any, where: str, row: Mapping[str, Any]) -> str:
    """The last answer as it follows the generation prompt, with what the template puts behind it."""
    message = messages[-1]
    words = message.get("content") or ""
    if not words.strip():
        raise BadInput(
            f"{where}: the chat template opens an answer with {asked[-24:]!r} and renders tool calls in another way, so that they "
            "cannot be learned as the model is asked. Drop the row"
        )
    marked = render([*messages[:-1], {**message, "content": MARK}], tokenizer, where, row=row)
    if MARK not in marked:
        raise BadInput(
            f"{where}: the chat template renders a chat differently with and without its answer, so the answer cannot be "
            "separated from the prompt. Put another chat_template.jinja into the base's folder, or give prompt/completion rows "
            "that hold the whole prompt in its form"
        )
    return _thought_through(asked, message, words) + marked.rpartition(MARK)[2]


def _thought_through(asked: str, message: Mapping[str, Any], words: str) -> str:
    """The answer's words behind an opened thought: the thought that the row has, or none, then the words."""
    opened = _OPENED.search(asked)
    if opened is None:
        return words
    mark = opened[0].rstrip()
    close = f"{mark[0]}/{mark[1:]}"
    thought = next((t for key in _THOUGHTS if isinstance(t := message.get(key), str) and t.strip()), None)
    if thought is not None and close not in words:
        return f"{thought.strip()}\n{close}\n\n{words.lstrip()}"
    if words.lstrip().lower().startswith(mark.lower()):
        rest = words.lstrip()[len(mark) :]
        return rest.lstrip("\n") if asked.endswith("\n") else rest
    return words if close in words else f"\n{close}\n\n{words}"


def _squeezed(text: str) -> str:
    return "".join(text.split())
