"""The null's drawn and computed thresholds, against plain draws of what they stand for."""

import numpy as np
import pytest
import torch

from despur.find._null import edge, energies, tracy_widom, turned_top

SPECTRA = {
    "flat": [torch.full((8,), 1 / 8 / 24).double()] * 24,
    "steep": [(0.5 ** torch.arange(8) / 1.9921875 / 24).double()] * 24,
    "one of rank one": [torch.tensor([1 / 24]).double(), *[torch.full((8,), 1 / 8 / 24).double()] * 23],
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_computed_threshold_keeps_its_level_and_is_close(name):
    """400 rotations; at most the level passes, and the drawn quantile lies within one scale below."""
    spectra = SPECTRA[name]
    rng = torch.Generator().manual_seed(0)
    tops = np.array([turned_top(spectra, 160, rng, torch.float32) for _ in range(400)])
    middle, scale = edge(spectra, 160)
    for level in (0.05, 0.2):
        threshold = middle + scale * float(tracy_widom().isf(level))
        assert (tops > threshold).mean() <= level
        assert threshold - 1.5 * scale < np.quantile(tops, 1 - level) <= threshold


def test_the_edge_is_that_of_marchenko_and_pastur_where_that_holds():
    """Many modules of one row each are a Wishart matrix, up to their lengths."""
    m, d = 4000, 1000
    middle, scale = edge([torch.tensor([1 / m]).double()] * m, d)
    assert middle == pytest.approx((1 + (m / d) ** 0.5) ** 2 / m, rel=1e-3)
    known = (m**0.5 + d**0.5) * (m**-0.5 + d**-0.5) ** (1 / 3) / (m * d)
    assert scale == pytest.approx(known, rel=5e-3)


def test_directions_that_must_meet_leave_nothing_to_chance():
    assert edge([torch.tensor([0.7, 0.3]).double()], 9) == (pytest.approx(0.7), 0.0)
    whole = torch.full((4,), 0.125).double()
    assert edge([whole, whole], 4) == (pytest.approx(0.25), 0.0)


def test_energies_are_the_squared_singular_values():
    parts = [torch.randn(3, 7), torch.randn(9, 7)]
    for part, found in zip(parts, energies(parts), strict=True):
        torch.testing.assert_close(found, torch.linalg.svdvals(part.double()) ** 2, atol=1e-5, rtol=1e-5)


def test_turning_keeps_lengths_and_angles():
    rng = torch.Generator().manual_seed(0)
    assert turned_top([torch.tensor([0.5, 0.2])], 9, rng, torch.float64) == pytest.approx(0.5)
