"""Every claim's mechanism holds here, and a claim whose control does as well does not."""

from dataclasses import replace

import pytest

from despur.core import methods
from despur.core.claim import find_claim
from despur.core.evidence import FAILS


@pytest.mark.parametrize("name", methods())
def test_mechanism(name):
    claim = find_claim(name)
    reports = claim.run(0, whole=False)
    verdict, reasons = claim.judge(reports)
    assert verdict != FAILS, reasons
    same = [replace(r, control=r.value) for r in reports]
    assert claim.judge(same)[0] == FAILS, "a control that does as well as the method proves nothing"
    other = [replace(r, value=r.control, low=r.control, high=r.control, control=r.value) for r in reports]
    assert claim.judge(other)[0] == FAILS, "the control's own figures must not hold"


@pytest.mark.parametrize("name", ["grasp", "leakage"])
def test_same_seed_same_figures(name):
    one, two = (find_claim(name).run(3, whole=False) for _ in range(2))
    assert [r.to_dict() for r in one] == [r.to_dict() for r in two]
