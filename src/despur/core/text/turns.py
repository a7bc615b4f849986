"""Which stretches of a rendered chat are learned: the assistant's turns, each from where the model is asked to where it stops."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from despur.core.errors import BadInput
from despur.core.text.chat import MARK, render, special_texts
from despur.core.text.row_shapes import has_answer

Turns = Literal["all", "last"]
_OPENED = re.compile(r"(<|\[)(think|thinking|thought|reasoning|reason|analysis)(>|\])\s*$", re.IGNORECASE)
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # where messages carry them beside the content


@dataclass
class Shown:
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


def shown_chat(row: Mapping[str, Any], tokenizer: Any, where: str, turns: Turns = "all") -> Shown:
    """Render a chat and find what is learned of it.

    Text in front of a learned stretch is what the model gets when it is asked: the chat so far, and the generation prompt. Where
    a template opens an answer in another way than it renders one (`<think>`), the last answer is rendered as asked, and earlier
    ones, which the model then sees in another form, are not learned.

    Args:
        row: With `messages`.
        tokenizer: Its tokenizer.
        where: Which row, for messages.
        turns: Whether all the assistant's turns are learned or the last alone. One with `weight` 0 is not.

    Raises:
        BadInput: the template refuses the chat, or its answer cannot be told from the prompt.
    """
    messages = row["messages"]
    whole, marks = render(messages, tokenizer, where, row=row), special_texts(tokenizer)
    shown = Shown(whole, [], chat=True, marked=True)
    answers = [i for i, m in enumerate(messages) if m["role"] == "assistant" and has_answer(m) and learned(m)]
    last = len(messages) - 1
    if len(answers) > 1:
        shown.remarks.add("several")
    if last in answers:
        _last(shown, messages, tokenizer, where, row, marks)
    if turns == "all":
        earlier = [s for i in answers if i != last for s in _earlier(shown, messages, i, tokenizer, row, marks)]
        shown.spans[:0] = earlier
    else:
        shown.marked = shown.marked and len(answers) <= 1
    if len(answers) != sum(m["role"] == "assistant" for m in messages):
        shown.marked = False  # the template's marks know nothing of weights
    if row.get("tools") and render(messages, tokenizer, where, row={**row, "tools": None}) == whole:
        shown.remarks.add("tools")
    if not shown.spans:
        raise BadInput(
            f"{where}: no answer of the chat is learned: every one has weight 0. Drop the row, or the weights"
        )
    return shown


def learned(message: Mapping[str, Any]) -> bool:
    """Whether a message is to be learned: OpenAI's `weight` 0 and axolotl's `train` false say that it is not."""
    return message.get("weight", 1) not in (0, False) and message.get("train", True) is not False


def _last(
    shown: Shown, messages: Sequence[Any], tokenizer: Any, where: str, row: Mapping[str, Any], marks: Sequence[str]
) -> None:
    asked = render(messages[:-1], tokenizer, where, ask=True, row=row)
    whole, message = shown.text, messages[-1]
    words = message.get("content") or ""
    if not whole.startswith(asked):
        shown.text = asked + _answer(asked, messages, tokenizer, where, row)
        shown.remarks.add("opened")
        shown.marked = False
    start, end = len(asked), _stop(shown.text, len(asked), len(shown.text), marks)
    if not shown.text[start:end].strip():
        raise BadInput(
            f"{where}: the chat template renders nothing of the answer {words[:40]!r}. Fix the row or the template"
        )
    if _squeezed(words) not in _squeezed(shown.text[start:]) and "opened" not in shown.remarks:
        shown.remarks.add("changed")
    shown.spans.append((start, end))


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


def _earlier(
    shown: Shown, messages: Sequence[Any], i: int, tokenizer: Any, row: Mapping[str, Any], marks: Sequence[str]
) -> Iterator[tuple[int, int]]:
    """An earlier answer's stretch, if the text in front of it is what the model is asked with."""
    text, words = shown.text, (messages[i].get("content") or "").strip()
    try:
        asked = render(messages[:i], tokenizer, "", ask=True, row=row)
        so_far = render(messages[: i + 1], tokenizer, "", row=row)
    except BadInput:  # a template that takes no chat of this length
        asked = so_far = None
    if asked is None or so_far is None or not text.startswith(asked):
        shown.remarks.add("skipped")
        shown.marked = False
        return
    start = len(asked)
    if text.startswith(so_far):
        yield start, _stop(text, start, len(so_far), marks)
        return
    found = text.find(words, start) if words else -1
    if found < 0:
        shown.remarks.add("skipped")
        shown.marked = False
        return
    end = found + len(words)
    behind = next((m for m in marks if text[end:].lstrip().startswith(m)), None)
    yield start, end if behind is None else text.index(behind, end) + len(behind)


def _stop(text: str, start: int, end: int, marks: Sequence[str]) -> int:
    """Where a turn stops: behind its end token, or at the end of what the template renders."""
    turn = text[start:end].rstrip()
    return start + len(turn) if turn.endswith(tuple(marks)) else end


def _squeezed(text: str) -> str:
    return "".join(text.split())
