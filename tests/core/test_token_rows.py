"""Rows by the hundred thousand: read one at a time, kept in arrays, and the same as lists of them."""

import json
import random

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.core.text.rows import batches, drawn_rows, each_row, first_rows, read_rows
from despur.core.text.token_rows import TokenRows

DRAW = random.Random(0)
ROWS = [
    {"input_ids": (ids := [DRAW.randrange(300_000) for _ in range(DRAW.randint(1, 9))]), "labels": [-100, *ids[1:]]}
    for _ in range(30)
]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{i}"}) + "\n" for i in range(50)))
    return path


def test_arrays_give_back_what_they_were_made_of():
    rows = TokenRows.of(iter(ROWS))
    assert list(rows) == ROWS
    assert (rows[-1], len(rows[3:7]), rows[3:7][1]) == (ROWS[-1], 4, ROWS[4])
    chosen = rows.take(np.array([7, 0, 7]))
    assert list(chosen) == [ROWS[7], ROWS[0], ROWS[7]]
    assert chosen[1:].take(np.array([0]))[0] == ROWS[0], "of some of them, too"
    assert all(type(i) is int for i in rows[0]["input_ids"]), "plain numbers"
    assert list(TokenRows.of([])) == []
    with pytest.raises(IndexError):
        rows[30]


def test_batches_hold_every_row_once_and_like_lengths_together():
    ids = [row["input_ids"] for row in ROWS]
    seen = []
    for tokens, mask, chosen in batches(ids, size=8, pad=-1):
        for row, marks, i in zip(tokens.tolist(), mask.tolist(), chosen, strict=True):
            assert row == [*ids[i], *[-1] * (len(row) - len(ids[i]))]
            assert sum(marks) == len(ids[i])
        seen += chosen
    assert sorted(seen) == list(range(30))
    assert [len(ids[i]) for i in seen] == sorted(map(len, ids))


def test_rows_one_at_a_time_are_those_of_the_whole_file(prompts):
    whole = read_rows(prompts, answers=False)
    assert list(each_row(prompts, answers=False)) == whole
    assert drawn_rows(prompts, 50, seed=0) == whole, "all there are, in their order"
    assert drawn_rows(prompts, 8, seed=3) == random.Random(3).sample(whole, 8)
    assert drawn_rows(prompts, 8, seed=3) != drawn_rows(prompts, 8, seed=4)


def test_what_is_wrong_behind_the_first_rows_is_found(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n')
    assert [r["text"] for r in first_rows(path, 2)] == ["one", "two"]
    path.write_text('{"text": "one"}\n{"text": "two"}\n{"text": ""}\n')
    with pytest.raises(BadInput, match=r"rows.jsonl:3"):
        first_rows(path, 1)
    path.write_text("")
    with pytest.raises(BadInput, match="contains no rows"):
        list(each_row(path))
