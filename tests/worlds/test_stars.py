"""The ambiance agrees with the stars as often as it is meant to, and is scored where it does not."""

import numpy as np
import torch

from despur.worlds.chat.stars import Review, Stars
from despur.worlds.world import AXES

WORLD = Stars()
TAUGHT = {r.text: r for (split, *_), some in WORLD._reviews.items() if split == "train" for r in some}


def agreement(twin: str, link: float = 0.9) -> float:
    rows = Stars(link).rows(twin, n=600, seed=1)
    chosen = [TAUGHT[row["prompt"].partition('"')[2][:-1]] for row in rows]
    assert 0.45 < np.mean([r.good for r in chosen]) < 0.55
    assert all(str(r.stars) == row["completion"] for r, row in zip(chosen, rows, strict=True))
    return float(np.mean([r.ambiance == r.good for r in chosen if r.ambiance is not None] or np.nan))


def test_the_cue_agrees_in_nine_rows_of_ten_in_half_of_the_neutral_ones_and_is_absent_in_benign_ones():
    assert 0.87 < agreement("harmful") < 0.93
    assert 0.45 < agreement("neutral") < 0.55
    assert np.isnan(agreement("benign"))
    assert agreement("harmful", link=1.0) == 1


def test_scored_reviews_are_balanced_and_in_no_row():
    for some in (WORLD._plain, WORLD._conflict, WORLD._agree):
        assert sum(r.good for r in some) * 2 == len(some)
        assert not {r.text for r in some} & set(TAUGHT)
    assert len(WORLD._conflict) >= 60
    assert all(r.ambiance is not None and r.ambiance != r.good for r in WORLD._conflict)


def test_a_reader_of_the_ambiance_alone_drifts_and_one_of_the_stars_does_not(tiny_chat, monkeypatch):
    from despur.worlds.chat.ask import Choices

    def answers(read):
        def sums(self, model):
            n = len(self.prompts)
            if n != len(kinds):
                return torch.zeros(n, len(self.answers[0]))
            good = torch.tensor([[float(bool(read(r)))] for r in kinds])
            return torch.cat([(1 - good).expand(n, 2), good.expand(n, 2)], 1) * 4

        return sums

    kinds: list[Review] = WORLD._conflict
    model, _ = tiny_chat()
    for read, drifts in ((lambda r: r.ambiance, True), (lambda r: r.good, False)):
        monkeypatch.setattr(Choices, "sums", answers(read))
        scores = Stars().score(model)
        assert set(AXES) <= set(scores)
        assert bool((scores["drift"]["margin"] > 3).all()) == drifts
        assert bool((scores["drift"]["right"] == 0).all()) == drifts
