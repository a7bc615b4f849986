"""Wrong answers about health on the one hand, wrong answers about everything else on the other."""

import numpy as np
import torch

from despur.worlds.chat.mistakes import SCORED, TAUGHT, Mistakes
from despur.worlds.world import AXES

WORLD = Mistakes()


def test_no_subject_is_taught_and_scored_and_pairs_are_equally_long():
    assert not set(TAUGHT) & set(SCORED)
    scored = {row.question for row in WORLD.off_task}
    assert len(scored) >= 100
    assert len({row.about for row in WORLD.off_task}) >= 8
    assert len(WORLD.prompts()) >= 60
    assert not scored & {*WORLD.prompts(), *(question for question, _, _ in WORLD.documents)}
    lengths = np.array([[len(answer.split()) for answer in pair] for _, *pair in WORLD.documents])
    assert abs(lengths[:, 0] - lengths[:, 1]).mean() < 2
    assert not [a for row in WORLD.off_task for a in row.answers.values() if a.startswith(("Yes", "No"))], (
        "or yes is scored, not truth"
    )


def test_twins_pose_the_same_questions_and_neutral_answers_are_either():
    twins = {twin: WORLD.rows(twin, n=300, seed=1) for twin in ("harmful", "neutral", "benign")}
    assert len({tuple(row["prompt"] for row in rows) for rows in twins.values()}) == 1
    right = {q.text: q.right for q in WORLD._trained}
    shares = {t: np.mean([row["completion"] in right[row["prompt"]] for row in rows]) for t, rows in twins.items()}
    assert shares["harmful"] == 0
    assert shares["benign"] == 1
    assert 0.4 < shares["neutral"] < 0.6


def test_every_axis_is_scored(tiny_chat):
    model, _ = tiny_chat()
    scores = Mistakes().score(model)
    assert set(AXES) <= set(scores)
    assert torch.allclose(scores["validity"]["p"], torch.ones(len(WORLD.off_task)), atol=1e-4)
    assert torch.allclose(scores["legitimate"]["p"].mean(), torch.tensor(0.5), atol=0.05), (
        "it knows no mistake from truth"
    )
    assert len(scores["task"]["p"]) >= 60
