"""What the benchmarks of a real voice are made of, on a tiny model."""

import pytest
import torch
from real_recover import ANSWER, TAIL, Margin, Tail
from real_steer import edits, goodness, once, packed

from despur.claims.steer.baselines import baselines
from despur.core import Context, Site
from despur.core.model.answers import answer_log_probs
from despur.steer.lineas import AffineMap, row_means
from despur.testing import tiny_base


def rows(n: int, *, low: int, long: int, seed: int) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(low, low + 25, (long + i % 3,), generator=draw).tolist() for i in range(n)]


@pytest.fixture(scope="module")
def model():
    return tiny_base()


def test_linear_act_brings_every_layers_mean_onto_the_targets(model):
    source, target = rows(12, low=3, long=6, seed=0), rows(12, low=33, long=6, seed=1)
    maps = baselines(model, source, target)["Linear-AcT"]
    plain = {s: AffineMap(torch.ones(32), torch.zeros(32)) for s in maps}
    with torch.no_grad():
        moved, there, was = (
            [m.mean(0) for m in row_means(model, *how)]
            for how in ((source, edits(packed(maps), 1.0)), (target, plain), (source, plain))
        )
    for a, b, c in zip(moved, there, was, strict=True):
        assert torch.allclose(a, b, atol=1e-4)
        assert not torch.allclose(c, b, atol=1e-2)


def test_a_margin_is_that_of_the_whole_rows_and_moves_with_the_stream(model):
    prompts = [p[: TAIL + 2 + i] for i, p in enumerate(rows(3, low=3, long=TAIL + 6, seed=2))]
    answers = torch.tensor([[[20 + i] * ANSWER, [30 + i] * ANSWER] for i in range(3)])
    site = Site("model.layers.0")
    made = Margin(model, site, prompts, answers)
    stream, margin = made.under({})
    sums, counts = answer_log_probs(model, prompts, answers.tolist())
    means = sums / counts
    assert torch.allclose(margin(stream).detach(), means[:, 0] - means[:, 1], atol=1e-4)
    push = 0.5 * torch.randn(stream.shape, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(margin(stream + push).detach()[0], margin(stream).detach()[0], atol=1e-3)


def test_a_push_acts_on_the_last_tokens_of_a_prompt_and_not_on_what_is_said():
    x, push, here = torch.zeros(1, 4, 2), torch.ones(1, 2, 2), Context(torch.nn.Identity())
    assert Tail(push, start=None, add=True)({"x": x}, here)["x"][0, :, 0].tolist() == [0, 0, 1, 1]
    assert Tail(push)({"x": x}, here)["x"][0, :, 0].tolist() == [1, 1, 0, 0]
    assert not Tail(push, start=None, add=True)({"x": x[:, :1]}, here)["x"].any()


def test_a_voice_counts_for_in_and_against_out():
    def scores(voiced: list[bool], plain: float) -> dict:
        return {"voiced": voiced, "plain": torch.tensor([plain]), "known": torch.tensor([0.5])}

    base = scores([False, False], -2.0)
    loud, broken = scores([True, True], -2.0), scores([True, True], -6.0)
    assert goodness(loud, base, 0.5, out=False) == pytest.approx(1.0)
    assert goodness(broken, base, 0.5, out=False) < 0.1
    assert goodness(base, base, 0.5, out=True) == pytest.approx(1.0)
    assert goodness(loud, base, 0.5, out=True) < 0.01


def test_what_was_made_is_not_made_again(tmp_path):
    made = [once(tmp_path / "a" / "x", lambda v=v: {"t": torch.tensor(v), "said": ["one"]}) for v in (1, 2)]
    assert [int(m["t"]) for m in made] == [1, 1]
