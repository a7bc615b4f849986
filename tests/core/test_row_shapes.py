"""Rows in the shapes of other tools, read as the one of ours that says the same; anything else in one sentence."""

import pytest

from despur.core.errors import BadInput
from despur.core.text.row_files import raw_rows
from despur.core.text.row_shapes import checked_row
from despur.core.text.rows import read_rows

USER, ASSISTANT = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ASSISTANT]},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        {"conversation": [USER, ASSISTANT]},
        {"prompt": [USER], "completion": [ASSISTANT]},
        {"prompt": "Q", "completion": [ASSISTANT]},
        {"prompt": [USER], "completion": "A"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, ASSISTANT]},
        {"instruction": "Q", "input": "", "output": "A", "text": "Below is an instruction ..."},
        {"instruction": "Q", "output": "A", "history": []},
    ],
)
def test_shapes_of_a_chat(row):
    assert checked_row(row, "f:1")["messages"] == [USER, ASSISTANT]


def test_what_stands_beside_a_chat_stays():
    system = {"role": "system", "content": "S"}
    assert checked_row({"messages": [USER, ASSISTANT], "system": "S"}, "f:1") == {"messages": [system, USER, ASSISTANT]}
    row = {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}], "tools": [CALL], "id": 3}
    assert checked_row(row, "f:1") == row
    assert checked_row({"prompt": [USER], "completion": [ASSISTANT]}, "f:1", answers=False) == {"messages": [USER]}


def test_instructions_bring_their_input_and_what_was_said_before():
    row = {"instruction": "Q", "input": "of this", "output": "A", "history": [["one", "two"]], "system": "S"}
    said = [(m["role"], m["content"]) for m in checked_row(row, "f:1")["messages"]]
    assert said == [
        ("system", "S"),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "Q\n\nof this"),
        ("assistant", "A"),
    ]
    assert checked_row({"instruction": "Q"}, "f:1", answers=False) == {"messages": [USER]}
    assert checked_row({"instruction": "x", "prompt": "Q", "completion": "A"}, "f:1")["completion"] == "A"


def test_prompts_may_be_plain_lines():
    assert read_rows(b"How?\n\n  Why so? \n", answers=False) == [{"prompt": "How?"}, {"prompt": "Why so?"}]
    assert read_rows(b'How?\n{"prompt": "Why?"}\n', answers=False) == [{"prompt": "How?"}, {"prompt": "Why?"}]
    with pytest.raises(BadInput, match=":1 is not JSON"):
        read_rows(b"How?\n")
    with pytest.raises(BadInput, match=":1 is not JSON"):
        read_rows(b'{"prompt": "How?\n', answers=False)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"instruction": " ", "output": "A"}, "empty 'instruction'"),
        ({"instruction": "Q", "output": ""}, "empty 'output'"),
        ({"instruction": "Q", "output": "A", "history": ["one"]}, "'history' must be"),
        ({"messages": []}, "every message needs"),
        ({"messages": [USER]}, "no answer"),
        ({"messages": [ASSISTANT]}, "nothing asks for"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "no answer"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "'tool_calls' in its place"),
        ({"messages": [{"role": "user", "content": None}, ASSISTANT]}, "every message needs"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, ASSISTANT]}, "part of type 'image'"),
        ({"messages": ["Q", ASSISTANT]}, "every message needs"),
        ({"messages": [USER, ASSISTANT], "tools": "weather"}, "'tools' must be a list"),
        ({"conversations": [{"from": "function_call", "value": "f"}, ASSISTANT]}, "from 'function_call'"),
        ({"prompt": [USER], "completion": []}, "empty 'completion'"),
        ({"prompt": 3, "completion": [ASSISTANT]}, "'prompt' must be a text or a list"),
        ({"prompt": "Q", "completion": 3}, "empty 'completion'"),
        ({"prompt": {"q": 1}, "completion": "A"}, "'prompt' is dict"),
        ({"text": " "}, "'text' is str"),
        (["Q", "A"], "keys list"),
    ],
)
def test_what_is_no_row(row, words):
    with pytest.raises(BadInput, match=f"f:1.*{words}") as raised:
        checked_row(row, "f:1")
    assert "\n" not in str(raised.value)


def test_half_a_character_is_named_with_its_line(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "\\ud83d\\ude00 a whole one"}\n{"text": "C:\\\\udata"}\n{"text": "half \\uD83D"}\n')
    with pytest.raises(BadInput, match=r"rows.jsonl:3 holds half a character \('\\ud83d'\)"):
        read_rows(file)
    rows = raw_rows(file, "rows")
    assert [next(rows)[1]["text"] for _ in range(2)] == ["\U0001f600 a whole one", "C:\\udata"]


def test_a_prompt_alone_keeps_its_system_text():
    assert checked_row({"prompt": "Q", "system": "S", "id": 3}, "f:1", answers=False) == {"prompt": "Q", "system": "S"}
    assert checked_row({"prompt": "Q"}, "f:1", answers=False) == {"prompt": "Q"}
