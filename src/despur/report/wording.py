"""What differs between two answers, and what a person asked within a chat template."""

import re
from difflib import SequenceMatcher
from typing import NamedTuple

MOST = 400  # words that are compared; the rest of a longer answer is not marked
_TURN = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</?s>|<[be]os>")
_ROLE = re.compile(r"\s*(system|user|human|assistant|model|tool)\s*(?:\n|$)", re.IGNORECASE)
_WORTH = 12  # characters of a template, from which on it is worth a fold

Piece = tuple[str, bool]


class Asked(NamedTuple):
    """A question as people read it.

    Args:
        question: What was asked.
        whole: The same with its template; "" where there is nothing more to it.
    """

    question: str
    whole: str


def differing(text: str, other: str) -> list[Piece]:
    """Cut a text into pieces, and mark those words that another text does not have in the same order.

    Example:
        >>> differing("a red boat", "a blue boat")
        [('a ', False), ('red', True), (' boat', False)]
    """
    words, others = (re.findall(r"\S+|\s+", str(t)) for t in (text, other))
    head, tail = words[: 2 * MOST], words[2 * MOST :]
    match = SequenceMatcher(None, head, others[: 2 * MOST], autojunk=False)
    pieces: list[Piece] = []
    for kind, start, end, _, _ in match.get_opcodes():
        part = "".join(head[start:end])
        if part:
            pieces.append((part, kind != "equal" and bool(part.strip())))
    return [*pieces, *([("".join(tail), False)] if tail else [])]


def asked(text: str) -> Asked:
    r"""Find what a person asked last in a text with a chat template around it; other text stays as it is.

    Example:
        >>> asked("<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n").question
        'Who are you?'
        >>> asked("Who are you?")
        Asked(question='Who are you?', whole='')
    """
    text = str(text)
    parts = _TURN.split(text)
    if len(parts) == 1:
        return Asked(text, "")
    turns = [
        (role[1].lower(), part[role.end() :].strip()) if (role := _ROLE.match(part)) else ("", part.strip())
        for part in parts
    ]
    turns = [(role, words) for role, words in turns if words]
    own = [words for role, words in turns if role in ("user", "human")] or [
        words for role, words in turns if role == ""
    ]
    question = own[-1] if own else text
    return Asked(question, text) if len(text) - len(question) >= _WORTH else Asked(text, "")
