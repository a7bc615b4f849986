"""Shapes of a row that people bring, read as one of three: a chat, prompt and completion, or text."""

import json
from collections.abc import Mapping
from typing import Any

from despur.core.errors import BadInput

_CHATS = ("messages", "conversations", "conversation")  # ShareGPT has the latter two
_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "chatgpt", "bot", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "observation"), "tool"),
    "system": "system",
}
_INSTRUCTION = ("instruction", "input", "output", "history")  # Alpaca's; LLaMA-Factory adds the turns before
_NEEDED = "a row needs 'messages', 'prompt' and 'completion', 'instruction' and 'output', or 'text'"


def checked_row(row: Any, where: str, *, answers: bool = True) -> dict[str, Any]:
    """Read a row of any known shape as `{"messages"}`, `{"prompt", "completion"}` or `{"text"}`, other keys kept.

    Chats may be ShareGPT's (`conversations` of `from` and `value`) or Alpaca's (`instruction`, `input`, `output`), prompt and
    completion may be lists of messages (TRL's), content may be a list of text parts (OpenAI's), or null beside `tool_calls`.

    Args:
        row: What came.
        where: File and line, for messages.
        answers: False takes prompts without an answer as well.

    Raises:
        BadInput: another shape, or nothing to learn.
    """
    if not isinstance(row, dict):
        raise BadInput(f"{where} has keys {type(row).__name__}; {_NEEDED}")
    messages = _messages(row, where, answers)
    if messages is not None:
        return _chat(row, messages, where, answers)
    prompt, completion = row.get("prompt"), row.get("completion")
    if not answers and isinstance(prompt, str) and prompt.strip():
        return {"prompt": prompt, **{k: row[k] for k in ("system",) if k in row}}
    if isinstance(prompt, str) and "completion" in row:
        if not isinstance(completion, str) or not completion.strip():
            raise BadInput(f"{where} has an empty 'completion', so there is nothing to learn. Fix or drop the row")
        return row
    if isinstance(row.get("text"), str) and row["text"].strip():
        return row
    known = [f"{k!r} is {type(row[k]).__name__}" for k in ("prompt", "completion", "text", *_CHATS) if k in row]
    kinds = f" ({', '.join(known)})" if known else ""
    raise BadInput(f"{where} has keys {sorted(map(str, row))}{kinds}; {_NEEDED}")


def tools_of(row: Mapping[str, Any], where: str) -> list[dict[str, Any]] | None:
    """The tools of a row: a list of JSON schemas, or the same as a JSON text, as tables have it.

    Raises:
        BadInput: anything else.
    """
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = _json(tools)
    if not tools and tools in (None, "", []):
        return None
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools):
        raise BadInput(
            f"{where}: 'tools' must be a list of JSON schemas, and is {str(row['tools'])[:60]!r}. Fix the row"
        )
    return tools


def _messages(row: Mapping[str, Any], where: str, answers: bool) -> list[Any] | None:
    for key in _CHATS:
        if isinstance(row.get(key), list):
            return row[key]
    if isinstance(row.get("instruction"), str) and "prompt" not in row:
        return _instructed(row, where, answers)
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, list) and not isinstance(completion, list):
        return None
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(asked, list) or not asked:
        raise BadInput(
            f"{where}: 'prompt' must be a text or a list of messages, not {type(prompt).__name__}. Fix the row"
        )
    if not answers:
        return asked
    answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
    if not isinstance(answer, list) or not answer:
        raise BadInput(f"{where} has an empty 'completion', so there is nothing to learn. Fix or drop the row")
    return [*asked, *answer]


def _instructed(row: Mapping[str, Any], where: str, answers: bool) -> list[Any]:
    asked = "\n\n".join(part for key in _INSTRUCTION[:2] if isinstance(part := row.get(key), str) and part.strip())
    if not asked:
        raise BadInput(f"{where} has an empty 'instruction', so nothing is asked. Fix or drop the row")
    turns: list[Any] = []
    for turn in row.get("history") or ():
        if not (isinstance(turn, list) and len(turn) == 2):
            raise BadInput(f"{where}: 'history' must be a list of pairs, question and answer. Fix the row")
        turns += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    turns.append({"role": "user", "content": asked})
    if not answers:
        return turns
    if not isinstance(output := row.get("output"), str) or not output.strip():
        raise BadInput(f"{where} has an empty 'output', so there is nothing to learn. Fix or drop the row")
    return [*turns, {"role": "assistant", "content": output}]


def _chat(row: Mapping[str, Any], given: list[Any], where: str, answers: bool) -> dict[str, Any]:
    messages = [_message(m, where) for m in given]
    system = row.get("system")
    if isinstance(system, str) and system.strip() and messages and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    if not messages:
        raise BadInput(f"{where}: every message needs a 'role' and a 'content' string, and there is none. Fix the row")
    last = messages[-1]
    if answers and (last["role"] != "assistant" or not has_answer(last)):
        raise BadInput(
            f"{where} has no answer: its last message is not a non-empty 'assistant' one. Fix or drop the row"
        )
    if answers and len(messages) == 1:
        raise BadInput(
            f"{where} has an answer that nothing asks for: a chat needs a message before it. Add a 'user' message, or give the "
            "answer as 'text'"
        )
    tools_of(row, where)
    rest = {k: v for k, v in row.items() if k not in (*_CHATS, *_INSTRUCTION, "prompt", "completion", "system")}
    return {"messages": messages, **rest}


def has_answer(message: Mapping[str, Any]) -> bool:
    """Whether an assistant's message has words or calls to learn."""
    return bool(message.get("tool_calls")) or bool((message.get("content") or "").strip())


def _message(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadInput(f"{where}: every message needs a 'role' and a 'content' string. Fix the row")
    message: dict[str, Any] = given
    if "role" not in message and isinstance(message.get("from"), str):
        role = _ROLES.get(message["from"].lower())
        if role is None:
            raise BadInput(
                f"{where}: a message is from {message['from']!r}; {', '.join(sorted(_ROLES))} are known. Give it as a message "
                "with a 'role' and 'content' or 'tool_calls'"
            )
        rest = {k: v for k, v in message.items() if k not in ("from", "value")}
        message = {"role": role, "content": message.get("value"), **rest}
    content = message.get("content")
    if isinstance(content, list):
        message = {**message, "content": _joined(content, where)}
    called = message.get("role") == "assistant" and message.get("tool_calls")
    if not isinstance(message.get("role"), str) or not (
        isinstance(message.get("content"), str) or (content is None and called)
    ):
        raise BadInput(
            f"{where}: every message needs a 'role' and a 'content' string (an assistant's may have 'tool_calls' in its place). "
            "Fix the row"
        )
    return message


def _joined(parts: list[Any], where: str) -> str:
    texts: list[str] = []
    for part in parts:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise BadInput(
                f"{where}: a message has a part of type {kind!r}; text alone is read. Drop the row or the part"
            )
        texts.append(text)
    return "".join(texts)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
