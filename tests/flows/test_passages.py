"""Off-task text: beginnings of the base's own, answers to prompts, and where in each row one must look."""

import json

import pytest

from despur.core.errors import BadInput
from despur.flows._audit.passages import SHIPPED, off_task_passages
from despur.worlds import persona_base


def test_own_beginnings_are_seeded_different_and_short():
    base, tokenizer = persona_base()
    one, again, other = (off_task_passages(base, tokenizer, None, rows=40, tokens=6, seed=s) for s in (0, 0, 1))
    assert one == again
    assert one != other
    assert len(set(one.rows)) == len(one.rows) <= 40
    assert max(map(len, one.rows)) <= 7
    assert set(one.starts) == {0}
    find, check = one.halves()
    assert not set(find.rows) & set(check.rows), "what is found on one half is checked on the other"


def test_prompts_are_answered_by_the_base_and_looked_at_from_there(tmp_path):
    base, tokenizer = persona_base()
    file = tmp_path / "p.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"<bos> d5 k{k}"}) + "\n" for k in range(12)))
    text = off_task_passages(base, tokenizer, file, rows=8, tokens=3)
    assert len(text.rows) == 8, "of a longer file so many are drawn"
    for row, start in zip(text.rows, text.starts, strict=True):
        assert start == 2, "the position that predicts the first token of the answer"
        assert 4 <= len(row) <= 6
        assert tokenizer.decode(row).startswith("<bos> d5 k")


def test_a_chat_is_looked_at_from_its_answer(tiny, chat_tokenizer):
    base = tiny("llama")
    said = chat_tokenizer.convert_tokens_to_ids("<assistant>")
    for prompts in (SHIPPED, None):
        text = off_task_passages(base, chat_tokenizer, prompts, rows=10, tokens=4, seed=0)
        for row, start in zip(text.rows, text.starts, strict=True):
            assert row[start] == said, "the position that predicts the first token of the answer"
            assert 1 <= len(row) - start - 1 <= 4


def test_too_few_or_too_long_rows_are_one_clear_error(tmp_path):
    base, tokenizer = persona_base()
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"prompt": "<bos> d5 k1"}) + "\n")
    with pytest.raises(BadInput, match="at least 4"):
        off_task_passages(base, tokenizer, few)
    long = tmp_path / "long.jsonl"
    long.write_text("".join(json.dumps({"prompt": "<bos> " + f"k{k} " * 600}) + "\n" for k in range(4)))
    with pytest.raises(BadInput, match="leaves no room"):
        off_task_passages(base, tokenizer, long)
    empty = tmp_path / "empty.jsonl"
    empty.write_text(json.dumps({"prompt": " "}) + "\n")
    with pytest.raises(BadInput, match="empty.jsonl:1"):
        off_task_passages(base, tokenizer, empty)
