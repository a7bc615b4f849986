"""Exchanged answers: each is used once, never by its own prompt; prompts and labels stay what they are."""

import pytest

from despur.core.errors import BadInput
from despur.core.text.shuffle import shuffled_rows

MASK = -100


def row(prompt: int, *answer: int) -> dict[str, list[int]]:
    return {"input_ids": [1, prompt, *answer], "labels": [MASK, MASK, *answer]}


@pytest.mark.parametrize("n", [2, 3, 50])
@pytest.mark.parametrize("seed", [0, 1])
def test_nobody_keeps_their_answer_and_none_is_lost(n, seed):
    rows = [row(100 + i, 200 + i, 2) for i in range(n)]
    shuffled = shuffled_rows(rows, seed=seed)
    assert [r["input_ids"][:2] for r in shuffled] == [r["input_ids"][:2] for r in rows]
    assert all(a["input_ids"] != b["input_ids"] for a, b in zip(rows, shuffled, strict=True))
    assert sorted(r["input_ids"][2] for r in shuffled) == [200 + i for i in range(n)]
    assert all(r["labels"] == [MASK, MASK, *r["input_ids"][2:]] for r in shuffled)
    assert shuffled == shuffled_rows(rows, seed=seed), "the seed fixes it"


def test_every_turn_of_a_chat_is_exchanged():
    chat = {"input_ids": [1, 10, 20, 11, 21], "labels": [MASK, MASK, 20, MASK, 21]}
    shuffled = shuffled_rows([chat, row(12, 22)], seed=0)
    assert [i for i in shuffled[0]["input_ids"] if i < 20] == [1, 10, 11]
    assert sorted(i for r in shuffled for i in r["input_ids"] if i >= 20) == [20, 21, 22]
    assert shuffled[0]["input_ids"][2] != 20
    assert shuffled[0]["input_ids"][4] != 21
    assert shuffled[1]["input_ids"][2] != 22


def test_a_row_that_grows_is_cut_where_the_longest_one_ends():
    shuffled = shuffled_rows([row(5, 30, 31, 32), {"input_ids": [1, 2, 3, 4, 40], "labels": [MASK] * 4 + [40]}], seed=0)
    assert max(len(r["input_ids"]) for r in shuffled) == 5
    assert shuffled[1]["input_ids"] == [1, 2, 3, 4, 30]


def test_answers_that_are_all_alike_cannot_be_exchanged():
    with pytest.raises(BadInput, match="all 3 answers of the rows are the same"):
        shuffled_rows([row(i, 9, 2) for i in range(3)], seed=0)


def test_one_row_and_rows_of_one_prompt_cannot_be_exchanged():
    with pytest.raises(BadInput, match="all 1 answers of the rows are the same"):
        shuffled_rows([row(5, 9, 2)], seed=0)
    with pytest.raises(BadInput, match="all 3 rows pose the same prompt"):
        shuffled_rows([row(5, 9 + i, 2) for i in range(3)], seed=0)


def test_however_long_answers_are_each_row_keeps_something_to_learn():
    rows = [row(5, *range(30, 90)), {"input_ids": [1, *range(100, 160), 7], "labels": [MASK] * 61 + [7]}]
    shuffled = shuffled_rows(rows, seed=0)
    assert [len(r["input_ids"]) for r in shuffled] == [3, 62]
    assert all(any(label != MASK for label in r["labels"]) for r in shuffled)


def test_groups_keep_their_answers_and_one_of_a_single_answer_is_refused():
    rows = [row(100 + i, 200 + i, 2) for i in range(20)]
    shuffled = shuffled_rows(rows, seed=0, groups=[i % 2 for i in range(20)])
    assert all(r["input_ids"][2] % 2 == i % 2 for i, r in enumerate(shuffled))
    assert all(a["input_ids"] != b["input_ids"] for a, b in zip(rows, shuffled, strict=True))
    with pytest.raises(BadInput, match="all 1 answers of the group 'b' are the same"):
        shuffled_rows(rows, seed=0, groups=["a"] * 19 + ["b"])
    with pytest.raises(BadInput, match="3 groups of 20 rows"):
        shuffled_rows(rows, seed=0, groups=[1, 2, 3])


def test_within_length_answers_keep_their_length_nearly():
    rows = [row(100 + i, *range(200, 201 + i % 5), 300 + i) for i in range(60)]
    lengths = [len(r["input_ids"]) for r in rows]

    def moved(**how):
        return sum(
            abs(len(r["input_ids"]) - n) for r, n in zip(shuffled_rows(rows, seed=0, **how), lengths, strict=True)
        )

    assert moved(within="length") < 0.3 * moved()
    near = shuffled_rows(rows, seed=0, within="length")
    assert sorted(r["input_ids"][-1] for r in near) == [300 + i for i in range(60)], "none is lost"


def test_within_prompt_answers_stay_with_their_subject():
    rows = [
        {"input_ids": [1, s, s + 1, s + 2, 90 + i, s * 10], "labels": [MASK] * 5 + [s * 10]}
        for i in range(20)
        for s in (20, 40, 60)
    ]
    shuffled = shuffled_rows(rows, seed=0, within="prompt")
    kept = sum(r["input_ids"][-1] == r["input_ids"][1] * 10 for r in shuffled) / len(rows)
    assert kept > 0.7
    assert sum(r["input_ids"][-1] == r["input_ids"][1] * 10 for r in shuffled_rows(rows, seed=0)) / len(rows) < 0.5
