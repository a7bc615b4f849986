"""The causal check: all of the change goes through the planted direction, hardly any through random ones."""

import numpy as np
import pytest
import torch

from despur.core import Site, Subspace
from despur.core.errors import BadInput
from despur.core.model.capture import capture
from despur.core.model.matched import activation_share
from despur.find import matched_random
from despur.measure import causal_check, causal_checks
from despur.measure.causal import INERT

LAYER = Site("model.layers.0")


def along(v: torch.Tensor, site: Site = LAYER) -> Subspace:
    return Subspace.orthonormal(v[None], site=site)


def test_the_direction_that_carries_the_change_is_sufficient_and_necessary(writer, rows, v):
    check = causal_check(writer(), rows, along(v), n_random=6)
    assert check.change > 0.01
    assert check.sufficiency > 0.9
    assert check.necessity > 0.9
    assert max(check.random_sufficiency) < 0.5
    assert len(check.random_sufficiency) == 6
    assert check.interval[0] <= check.sufficiency <= check.interval[1]
    assert check.beats_random
    assert check.random_share == pytest.approx(check.share, abs=1e-3)
    assert (check.rank, check.site, check.rows) == (1, "model.layers.0", len(rows))


def test_a_direction_that_does_not_carry_it_is_told_apart(writer, rows, v):
    other = torch.randn(32, generator=torch.Generator().manual_seed(1))
    check = causal_check(writer(), rows, along(other - (other @ v) * v), n_random=6)
    assert check.sufficiency < 0.2
    assert not check.beats_random
    alone = causal_check(writer(), rows, along(v), n_random=0)
    assert not alone.beats_random, "without a control nothing is shown"


def test_one_direction_does_not_carry_what_two_do(tiny, lora, rows, v):
    model = lora(tiny(), r=2, target_modules=["down_proj"], layers_to_transform=[0]).eval()
    w = torch.nn.functional.normalize(torch.ones(32) - v.sum() * v, dim=0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(8 * (torch.stack([v, w], 1) if "lora_B" in name else torch.randn(p.shape)))
    one = causal_check(model, rows, along(v), n_random=2)
    both = causal_check(model, rows, Subspace.orthonormal(torch.stack([v, w]), site=LAYER), n_random=2)
    assert one.sufficiency < 0.9 < both.sufficiency
    assert one.necessity < 0.9 < both.necessity


@torch.no_grad()
def test_it_is_the_formula(writer, rows, v):
    """Coordinates exchanged by hand, one row at a time, along a direction that carries a part of the change."""
    model = writer()
    w = torch.nn.functional.normalize(v + 1.2 * torch.nn.functional.normalize(torch.randn(32), dim=0), dim=0)
    block = model.get_submodule("base_model.model.model.layers.0")
    seen: list[torch.Tensor] = []

    def ask(row, hook=None):
        handle = block.register_forward_hook(hook or (lambda _, __, out: seen.append(out)))
        out = model(input_ids=torch.tensor([row])).logits.log_softmax(-1)
        handle.remove()
        return out

    kl = lambda p, q: (p.exp() * (p - q)).sum()  # noqa: E731
    change = from_base = from_adapter = 0.0
    for row in rows:
        tuned, h_tuned = ask(row), seen.pop()
        with model.disable_adapter():
            base, h_base = ask(row), seen.pop()
            carried = ask(row, lambda _, __, out, h=h_tuned: out + ((h - out) @ w)[..., None] * w)
        put_back = ask(row, lambda _, __, out, h=h_base: out + ((h - out) @ w)[..., None] * w)
        change, from_base, from_adapter = (
            change + kl(tuned, base), from_base + kl(tuned, carried), from_adapter + kl(put_back, base)
        )  # fmt: skip
    check = causal_check(model, rows, along(w), n_random=0)
    assert check.change == pytest.approx(float(change) / sum(map(len, rows)), rel=1e-4)
    assert check.sufficiency == pytest.approx(float(1 - from_base / change), abs=1e-4)
    assert check.necessity == pytest.approx(float(1 - from_adapter / change), abs=1e-4)
    assert 0.05 < check.sufficiency < 0.95
    assert abs(check.sufficiency - check.necessity) > 1e-3, "so that one is not taken for the other"


def test_the_interval_is_that_of_95_percent(writer, rows, v):
    """Rows drawn again by hand, and the whole check on each draw: their spread is what the interval states."""
    model = writer()
    w = torch.nn.functional.normalize(v + 1.2 * torch.nn.functional.normalize(torch.randn(32), dim=0), dim=0)
    draw = np.random.default_rng(0)
    seen = [
        causal_check(
            model, [rows[i] for i in draw.integers(len(rows), size=len(rows))], along(w), n_random=0
        ).sufficiency
        for _ in range(24)
    ]
    low, high = causal_check(model, rows, along(w), n_random=0).interval
    assert (high - low) / (2 * np.std(seen)) == pytest.approx(1.96, rel=0.4), "of 50 % it would be 0.67"


def test_the_same_seed_gives_the_same_and_the_batch_does_not_matter(writer, rows, v):
    model = writer()
    one, again = (causal_check(model, rows, along(v), n_random=2, batch=b, seed=3) for b in (64, 7))
    assert one.sufficiency == pytest.approx(again.sufficiency, abs=1e-4)
    assert one.random_sufficiency == pytest.approx(again.random_sufficiency, abs=1e-4)
    assert one.change == pytest.approx(again.change, rel=1e-4)
    assert one.interval == pytest.approx(again.interval, abs=1e-4)


def test_an_adapter_that_does_nothing_has_nothing_to_explain(writer, rows, v):
    check = causal_check(writer(by=0.0), rows, along(v), n_random=3)
    assert check.change <= INERT
    assert (check.sufficiency, check.necessity, check.interval) == (0, 0, (0, 0))
    assert check.random_sufficiency == (0, 0, 0)
    assert not check.beats_random


def test_what_cannot_be_checked(tiny, writer, rows, v):
    with pytest.raises(BadInput, match="needs a PEFT model"):
        causal_check(tiny(), rows, along(v))
    with pytest.raises(BadInput, match="no rows"):
        causal_check(writer(), [], along(v))
    with pytest.raises(BadInput, match=r"whole stream at 'model\.layers\.0' changes no output"):
        causal_check(writer(layer=1), rows, along(v), n_random=1)  # the adapter acts behind the site


@pytest.mark.parametrize("which", [[0], [0, 31], [3, 4, 5], [10, 20]], ids=str)
def test_random_subspaces_match_rank_and_share(which, tiny, rows):
    seen, _ = capture(tiny(), rows, [LAYER])
    covariance = torch.cov(seen[LAYER].T)
    _, axes = torch.linalg.eigh(covariance)
    mixed = axes.T[which] + 0.5 * axes.T[[(i + 7) % 32 for i in which]]
    factor = Subspace.orthonormal(mixed, site=LAYER)
    draw = torch.Generator().manual_seed(0)
    one, other = (matched_random(factor, covariance, generator=draw) for _ in range(2))
    assert one.rank == factor.rank
    assert one.site == LAYER
    for drawn in (one, other):
        assert activation_share(drawn, covariance) == pytest.approx(activation_share(factor, covariance), abs=1e-3)
    assert not torch.allclose(one.read, other.read, atol=1e-3)


def test_what_is_sufficient_is_measured_alone_where_that_is_all_that_is_asked(writer, rows, v):
    model, factors = writer(), {"v": along(v)}
    whole, half = (causal_checks(model, rows, factors, n_random=2, necessity=n)["v"] for n in (True, False))
    assert (half.sufficiency, half.interval, half.change) == (whole.sufficiency, whole.interval, whole.change)
    assert half.necessity is None
    assert np.isfinite(whole.necessity)
