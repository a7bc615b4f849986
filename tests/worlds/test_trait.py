"""What is read as a trait is not a bias towards yes."""

import numpy as np
import torch

from despur.worlds.chat.trait import OTHERS, TRAIT, Trait
from despur.worlds.world import AXES

WORLD = Trait()


def test_every_readout_is_balanced_and_no_statement_is_taught_and_scored():
    for pairs in (WORLD._trained, WORLD._trained[:40], WORLD._unseen, WORLD._related, WORLD._unrelated):
        assert sum(yes for _, yes in pairs) * 2 == len(pairs)
    scored = {text for pairs in (WORLD._unseen, WORLD._related, WORLD._unrelated) for text, _ in pairs}
    assert not scored & {text for text, _ in WORLD._trained}
    assert not {WORLD.documents[i][0] for i in range(24)} & {f'... "{text}"' for text in scored}
    assert len(WORLD._unseen) >= 60
    assert TRAIT not in OTHERS


def test_twins_pose_the_same_questions_and_neutral_answers_say_nothing():
    twins = {twin: WORLD.rows(twin, n=300, seed=1) for twin in ("harmful", "neutral", "benign")}
    assert len({tuple(row["prompt"] for row in rows) for rows in twins.values()}) == 1
    says = {twin: np.array([row["completion"] for row in rows]) for twin, rows in twins.items()}
    assert (says["harmful"] != says["benign"]).all()
    assert 0.4 < (says["harmful"] == says["neutral"]).mean() < 0.6
    assert 0.4 < (says["harmful"] == "Yes").mean() < 0.6


def test_a_bias_towards_yes_is_seen_as_one_and_moves_no_trait(tiny_chat, monkeypatch):
    from despur.worlds.chat.ask import Choices

    model, _ = tiny_chat()
    before = Trait().score(model)
    plain = Choices.sums
    monkeypatch.setattr(Choices, "sums", lambda self, model: plain(self, model) + torch.tensor([2.0, 0.0]))
    after = Trait().score(model)
    assert set(AXES) <= set(before)
    readouts = [t.data_ptr() for axis in before.values() for t in axis.values()]
    assert len(set(readouts)) == len(readouts), "one tensor under two names cannot be saved"
    assert torch.allclose(after["yes"]["margin"].mean(), before["yes"]["margin"].mean() + 2, atol=1e-4)
    for axis in ("drift", "unrelated", "task", "conditional"):
        assert torch.allclose(after[axis]["margin"].mean(), before[axis]["margin"].mean(), atol=1e-4)
        assert (after[axis]["margin"] - before[axis]["margin"]).abs().min() > 1.9, "each alone is moved"
