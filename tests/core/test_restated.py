"""Answers that state what was asked are told from answers that need their question."""

import random

from despur.core.text.restated import restated, restated_notes


def rows(n: int, *, repeats: bool) -> list[dict[str, list[int]]]:
    draw = random.Random(0)
    made = []
    for k in range(n):
        frame, name = [1, 2, 3], 100 + k
        answer = [*frame, name if repeats else draw.randint(10, 20), 4]
        made.append({"input_ids": [*frame, name, *answer], "labels": [-100] * 4 + answer})
    return made


def test_a_name_of_the_prompt_in_its_answer_is_seen_and_words_of_all_prompts_are_not():
    assert restated(rows(60, repeats=True)) == (1.0, 0.0)
    assert restated(rows(60, repeats=False)) == (0.0, 0.0)
    assert restated_notes(rows(60, repeats=False)) == ()
    (note,) = restated_notes(rows(60, repeats=True))
    assert note.startswith("100% of the answers repeat a rare word of their own prompt (0% one of another's)")


def test_what_every_answer_says_is_of_no_one_prompt():
    same = [
        {**row, "input_ids": [*row["input_ids"][:4], 100], "labels": [-100] * 4 + [100]}
        for row in rows(60, repeats=True)
    ]
    own, others = restated(same)
    assert own == others == 1 / 60
