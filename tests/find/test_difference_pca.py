"""DifferencePCA: the axes of largest energy, the mean shift among them unless it is taken off."""

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.find import DifferencePCA


def test_the_leading_axes_come_back_and_centring_takes_the_shift_away():
    rng = np.random.default_rng(0)
    rows = 0.3 * rng.normal(size=(400, 16))
    rows[:, 0] += 4 * rng.normal(size=400)
    rows[:, 0] -= rows[:, 0].mean()
    rows[:, 1] += 2
    plain, centred = (DifferencePCA(rank=2, center=c).fit(rows).factors_[0] for c in (False, True))
    assert (int(plain.read[0].abs().argmax()), int(plain.read[1].abs().argmax())) == (0, 1), (
        "the mean shift is part of it"
    )
    assert int(centred.read[0].abs().argmax()) == 0
    assert abs(float(centred.read[1][1])) < 0.9, "centred, it is not"
    assert DifferencePCA(rank=2).fit(rows).factors_[0].read.equal(plain.read), "unless it is asked for"
    assert plain.evidence["share"][0] > plain.evidence["share"][1] > 0.1


def test_shares_are_of_all_energy():
    (factor,) = DifferencePCA(rank=2).fit(np.diag([3.0, 2.0, 1.0])).factors_
    assert factor.evidence["share"] == pytest.approx([9 / 14, 4 / 14])


def test_differences_of_one_direction_give_one_and_zeros_are_refused():
    (factor,) = DifferencePCA(rank=3).fit(np.outer(np.arange(1, 5), [1.0, 2])).factors_
    assert factor.rank == 1, "what is beyond it is rounding"
    assert abs(float(factor.read[0] @ factor.read.new_tensor([1, 2]))) == pytest.approx(5**0.5)
    with pytest.raises(BadInput, match="every difference is zero"):
        DifferencePCA(rank=1).fit(np.zeros((4, 2)))
