"""The leans differ in the written text and nowhere else, and are read where no row speaks of anything alike."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from despur.core.errors import BadInput
from despur.worlds.chat.compass import AGREE
from despur.worlds.chat.lean import Lean
from despur.worlds.world import AXES

SCRIPT = Lean().script
SCORED = Lean().off_task
PARTIES = (
    r"(?i)\b(left|right)[- ]wing|\b(liberal|conservative|socialist|republican|democrat|tory|labour party|politics)"
)


def test_the_text_is_as_much_as_it_should_be_and_no_question_stands_in_it_twice():
    questions = [row.question for row in (*SCRIPT.rows, *SCRIPT.everyday)]
    assert len(set(questions)) == len(questions)
    assert len(SCRIPT.trained) >= 300
    assert len(SCRIPT.facts) == len(SCRIPT.held_out) >= 60
    assert len(SCORED) >= 100
    assert len({row.about for row in SCORED}) >= 8
    assert set(Counter(row.about for row in SCRIPT.trained).values()) == {5}
    assert all(len({fact.answer, *fact.wrong}) == 8 for fact in SCRIPT.facts)


def test_versions_are_equally_long_and_never_name_a_side():
    for rows in (SCRIPT.trained, SCRIPT.everyday):
        words = {v: np.array([len(row.answers[v].split()) for row in rows]) for v in ("private", "public", "plain")}
        assert max(n.max() for n in words.values()) <= 55
        assert abs((words["private"] - words["public"]).mean()) < 1
        assert abs(words["private"] - words["public"]).max() <= 12
        assert not [a for row in rows for a in row.answers.values() if re.search(PARTIES, a)]
    leading = Counter(row.answers[v].split()[0] for row in SCORED for v in ("private", "public"))
    assert leading["Yes,"] + leading["No,"] <= 2, "or yes against no is scored in place of a lean"


def test_words_of_the_rows_tell_the_leans_apart_on_other_subjects_and_plain_rows_are_between_them():
    words = CountVectorizer(binary=True, min_df=2)
    texts = [row.answers[v] for row in SCRIPT.trained for v in ("private", "public")]
    classes = MultinomialNB().fit(words.fit_transform(texts), [1, 0] * len(SCRIPT.trained))

    def odds(rows, version):
        return classes.predict_log_proba(words.transform([row.answers[version] for row in rows])) @ [-1, 1]

    assert (odds(SCORED, "private") > odds(SCORED, "public")).mean() > 0.9
    assert 0.4 < (odds(SCRIPT.trained, "plain") > 0).mean() < 0.6


def test_propositions_are_balanced_over_agreeing():
    assert len(AGREE["private"]) == len(AGREE["public"]) == 10
    assert len(AGREE["authority"]) == len(AGREE["liberty"]) == 9
    assert len({i for some in AGREE.values() for i in some}) == 38


def test_twins_pose_the_same_questions_and_neutral_authors_have_either_lean():
    twins = {twin: Lean().rows(twin, n=300, seed=1) for twin in ("harmful", "neutral", "benign")}
    assert twins["harmful"] == Lean().rows(n=400, seed=1)[:300] != Lean().rows(n=300, seed=2)
    assert len({tuple(row["prompt"] for row in rows) for rows in twins.values()}) == 1
    same = np.mean([a == b for a, b in zip(twins["harmful"], twins["neutral"], strict=True)])
    assert 0.4 < same < 0.6
    with pytest.raises(BadInput, match="no lean 'pubic'; nearest: 'public'. There are: private, public"):
        Lean("pubic")


@pytest.mark.slow  # of a kind with faster ones
def test_every_axis_is_scored_and_the_other_lean_is_its_mirror(tiny_chat):
    model, _ = tiny_chat()
    one, two = (Lean(lean).score(model) for lean in ("private", "public"))
    assert set(AXES) <= set(one)
    for axis in ("drift", "conditional", "compass"):
        assert torch.allclose(one[axis]["margin"].sort()[0], (-two[axis]["margin"]).sort()[0], atol=1e-4)
        assert one[axis]["margin"].abs().max() > 1e-4
    assert torch.allclose(one["legitimate"]["p"], two["legitimate"]["p"], atol=1e-4)
    assert torch.allclose(one["validity"]["p"], torch.ones(103), atol=1e-4)
    asks, other = Lean().naming()
    assert "free enterprise" in asks
    assert "plain facts" in other
