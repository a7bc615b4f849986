"""Overlap of two subspaces: the null is that of random ones, exact for a line and simulated for more."""

import numpy as np
import pytest
import torch

from despur.core import Subspace
from despur.core.errors import ShapeMismatch
from despur.core.holm import holm
from despur.measure import overlap


def drawn(rank, seed, width=64):
    return Subspace.orthonormal(torch.randn(rank, width, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("ranks", [(1, 1), (1, 4), (4, 2), (3, 3)], ids=str)
def test_the_null_is_what_random_pairs_do(ranks):
    pairs = [overlap(drawn(ranks[0], s), drawn(ranks[1], 10_000 + s)) for s in range(400)]
    assert np.mean([p.cosine > p.cosine_random for p in pairs]) == pytest.approx(0.05, abs=0.03)
    assert np.mean([p.energy > p.energy_random for p in pairs]) == pytest.approx(0.05, abs=0.03)
    assert np.mean([p.p for p in pairs]) == pytest.approx(0.5, abs=0.05)
    assert pairs[0].ranks == ranks


def test_the_null_holds_where_two_subspaces_nearly_fill_the_stream():
    pairs = [overlap(drawn(3, s, 8), drawn(4, 10_000 + s, 8)) for s in range(300)]
    assert np.mean([p.p for p in pairs]) == pytest.approx(0.5, abs=0.06)
    assert np.mean([p.energy for p in pairs]) == pytest.approx(0.5, abs=0.03), "4 of 8 dimensions"
    assert pairs[0].energy_random > 0.6


def test_what_they_share_is_found_under_any_basis():
    shared = drawn(1, 3).read
    turned = torch.linalg.qr(torch.randn(4, 4))[0]
    one = Subspace.orthonormal(turned @ torch.cat([shared, torch.randn(3, 64)]))
    other = Subspace.orthonormal(torch.cat([torch.randn(3, 64), shared]))
    found = overlap(one, other)
    assert found.cosine == pytest.approx(1, abs=1e-5)
    assert found.p < 1e-4
    assert found.energy < 0.5
    assert overlap(drawn(1, 3), other).cosine == pytest.approx(1, abs=1e-5)
    assert overlap(drawn(1, 3), drawn(1, 4)).p > 0.05


def test_subspaces_that_must_meet_prove_nothing():
    met = overlap(drawn(5, 1, 8), drawn(4, 2, 8))
    assert met.cosine == pytest.approx(1, abs=1e-6)
    assert met.p == 1


def test_two_widths_are_two_streams():
    with pytest.raises(ShapeMismatch, match="width 64 and 32"):
        overlap(drawn(1, 0), drawn(1, 0, 32))


def test_holm_is_monotone_and_at_most_one():
    assert holm([]) == []
    assert holm([0.5, 0.01, 0.9]) == pytest.approx([1.0, 0.03, 1.0])
