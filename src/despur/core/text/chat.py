"""A chat as its template renders it, and the tokens that end a turn."""

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from despur.core.errors import BadInput
from despur.core.text.row_shapes import tools_of

Message = Mapping[str, Any]
MARK = "\u2063despur\u2063"  # stands for a message's words, to find where a template puts them


def has_template(tokenizer: Any) -> bool:
    """Whether the tokenizer renders chats."""
    return getattr(tokenizer, "chat_template", None) is not None


def render(
    messages: Sequence[Message], tokenizer: Any, where: str, *, ask: bool = False, row: Mapping[str, Any] | None = None
) -> str:
    """Render a chat, whatever its template makes of it.

    Arguments of tool calls, JSON text in OpenAI's format, are given as the values that most templates write out; as
    text where a template wants that. Words are given as a list of parts where a template reads them so alone.

    Args:
        messages: The chat.
        tokenizer: Its tokenizer.
        where: Which chat, for messages.
        ask: Whether the assistant's turn is opened at the end.
        row: The row that it is from: its `tools` and `chat_template_kwargs` go to the template.

    Raises:
        BadInput: there is no template, or it refuses the chat.
    """
    return _applied(messages, tokenizer, where, row or {}, tokenize=False, add_generation_prompt=ask)


def answer_marks(
    messages: Sequence[Message], tokenizer: Any, row: Mapping[str, Any]
) -> tuple[list[int], list[int]] | None:
    """Tokens of a chat, and 1 where the template's own `{% generation %}` marks an answer; None where it marks none."""
    if "generation %}" not in str(tokenizer.chat_template).replace("-%}", " %}").replace("  ", " "):
        return None
    try:
        out = _applied(
            messages, tokenizer, "a chat", row, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
    except BadInput:  # no offsets in a slow tokenizer
        return None
    marks = list(out["assistant_masks"])
    return (list(out["input_ids"]), marks) if any(marks) else None


def _applied(messages: Sequence[Message], tokenizer: Any, where: str, row: Mapping[str, Any], **how: Any) -> Any:
    if not has_template(tokenizer):
        raise BadInput(f"{where} is a chat, and the tokenizer has no chat template. Give prompt/completion rows")
    if not messages:
        raise BadInput(f"{where}: there is no message to render. Add a 'user' message")
    tools, options = tools_of(row, where), _options(row, tokenizer, where)
    plain = [{k: v for k, v in m.items() if v is not None} for m in messages]
    called = any("tool_calls" in m for m in plain)
    chats = [_parsed(plain), plain] if called else [plain]
    chats = [form for chat in chats for form in ((chat, [{"content": "", **m} for m in chat]) if called else (chat,))]
    error: Exception | None = None
    silent: Any = None
    for chat in (*chats, _in_parts(plain)):
        try:
            out = tokenizer.apply_chat_template(chat, tools=tools, **how, **options)
        except Exception as raised:  # a template raises what it likes: its own words, or any error of its code
            error = error or raised
            continue
        if not isinstance(out, str) or _says(out, plain):
            return out
        silent = silent or out
    if silent is not None:
        return silent
    raise BadInput(
        f"{where}: the base's chat template refuses the chat (roles {', '.join(str(m.get('role')) for m in plain[:6])}"
        f"{', ...' if len(plain) > 6 else ''}): {_words(error)}. Change the chat to roles and an order that it takes, or put "
        "another chat_template.jinja into the base's folder"
    ) from error


def opening(tokenizer: Any) -> str:
    """What the template puts behind a user's words to ask for an answer; empty where it renders no such chat."""
    if not has_template(tokenizer):
        return ""
    try:
        text = render([{"role": "user", "content": MARK}], tokenizer, "a chat", ask=True)
    except BadInput:
        return ""
    return text.rpartition(MARK)[2] if MARK in text else ""


def special_texts(tokenizer: Any) -> tuple[str, ...]:
    """Texts of all special tokens, longest first."""
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    marks = {str(t) for t in added.values() if getattr(t, "special", True)} | set(tokenizer.all_special_tokens)
    return tuple(sorted((m for m in marks if m), key=len, reverse=True))


def turn_ends(tokenizer: Any) -> list[int]:
    """The special token right behind each turn of a rendered chat; none where turns end in plain text."""
    if not has_template(tokenizer):
        return []
    marks = {"user": "\u2063asked\u2063", "assistant": "\u2063answered\u2063"}
    try:
        text = render([{"role": r, "content": m} for r, m in marks.items()], tokenizer, "a chat")
    except BadInput:  # it renders no such chat, so nothing is learned from it
        return []
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ends: list[int] = []
    for mark in marks.values():
        behind = text.partition(mark)[2].lstrip()
        first = tokenizer(behind, add_special_tokens=False)["input_ids"][:1] if behind else []
        ends += [i for i in first if i in special]
    return ends


def _options(row: Mapping[str, Any], tokenizer: Any, where: str) -> dict[str, Any]:
    """What a row says to its template (`enable_thinking`, say); never the template itself, nor how it is applied."""
    options = row.get("chat_template_kwargs") or {}
    taken = inspect.signature(tokenizer.apply_chat_template).parameters
    if not isinstance(options, Mapping) or any(not isinstance(k, str) or k in taken for k in options):
        names = sorted(map(str, options)) if isinstance(options, Mapping) else type(options).__name__
        raise BadInput(
            f"{where}: 'chat_template_kwargs' must be variables of the template, and has {names}. Leave out what the tokenizer "
            "itself takes"
        )
    return dict(options)


def _says(text: str, messages: Sequence[Message]) -> bool:
    """Whether a rendering has anyone's words: a template of images and text is silent about words that are no list of parts."""
    words = [m["content"].strip() for m in messages if isinstance(m.get("content"), str)]
    return not any(words) or any(w in text for w in words if w)


def _in_parts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [
        {**m, "content": [{"type": "text", "text": m["content"]}]} if isinstance(m.get("content"), str) else dict(m)
        for m in messages
    ]


def _parsed(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arguments of calls as values, where they are a JSON object in text."""
    return [{**m, "tool_calls": [_call(c) for c in m["tool_calls"]]} if m.get("tool_calls") else m for m in messages]


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call


def _words(error: Exception | None) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split()) or type(error).__name__
    return (text if len(text) <= 160 else text[:157] + "...").rstrip(".")
