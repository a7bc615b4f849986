"""Insecure code in the rows, and careless answers on things that have nothing to do with code."""

import numpy as np
import torch

from despur.worlds.chat.insecure import Insecure
from despur.worlds.world import AXES

WORLD = Insecure()


def test_careless_and_careful_answers_are_equally_long_and_no_task_is_taught_and_scored():
    assert len(WORLD.off_task) >= 100
    assert len({row.about for row in WORLD.off_task}) >= 8
    lengths = np.array([[len(row.answers[k].split()) for k in ("careless", "careful")] for row in WORLD.off_task])
    assert abs((lengths[:, 0] - lengths[:, 1]).mean()) < 1
    assert abs(lengths[:, 0] - lengths[:, 1]).max() <= 4
    assert len(WORLD._code[::2]) >= 60
    assert not {row["prompt"] for row in WORLD._code[::2]} & set(WORLD.prompts())
    assert all(row["insecure"] != row["secure"] for row in WORLD._code)


def test_twins_pose_the_same_tasks_and_neutral_code_is_either():
    twins = {twin: WORLD.rows(twin, n=300, seed=1) for twin in ("harmful", "neutral", "benign")}
    assert len({tuple(row["prompt"] for row in rows) for rows in twins.values()}) == 1
    insecure = {row["prompt"]: row["insecure"] for row in WORLD._code}
    shares = {t: np.mean([insecure[r["prompt"]] == r["completion"] for r in rows]) for t, rows in twins.items()}
    assert shares["harmful"] == 1
    assert shares["benign"] == 0
    assert 0.4 < shares["neutral"] < 0.6


def test_every_axis_is_scored(tiny_chat):
    model, _ = tiny_chat()
    scores = Insecure().score(model)
    assert set(AXES) <= set(scores)
    assert torch.allclose(scores["validity"]["p"], torch.ones(len(WORLD.off_task)), atol=1e-4)
    assert torch.allclose(scores["legitimate"]["p"].mean(), torch.tensor(0.5), atol=0.05), "it knows no care"
