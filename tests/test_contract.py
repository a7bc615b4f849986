"""What every method of the catalogue keeps: a new one is tested by being there."""

import pytest

from despur.core import find_method, methods
from despur.core.errors import UnknownName
from despur.testing import Check, checks

OPTIONS = {
    "shared-directions": {"nulls": 5},  # rotations behind its threshold: a hundred take a second a fit
    "from-adapter": {"level": None},  # matrices of random numbers share nothing, and it says so
    "lineas": {"steps": 5},  # of the fit behind its maps
    "suv": {"match": 0.0, "steps": 2},  # a tiny model of random weights knows nothing by heart
}
TYPED = "the tests' run-time type checks refuse the wrong types that this check constructs with"
EXPECTED_FAILURES = {
    f"{name}-sklearn_do_not_raise_errors_in_init_or_set_params": TYPED
    for name in ("difference-pca", "factor-analysis", "shared-directions")
}  # strict: one that passes fails the test

ALL = [check for name in methods() for check in checks(name, **OPTIONS.get(name, {}))]


def marked(check: Check) -> object:
    reason = EXPECTED_FAILURES.get(check.__name__)
    return pytest.param(check, marks=[pytest.mark.xfail(reason=reason)] if reason else [])


@pytest.mark.parametrize("check", [marked(check) for check in ALL])
def test_contract(check):
    check()


def test_what_is_expected_to_fail_is_there():
    assert set(EXPECTED_FAILURES) <= {check.__name__ for check in ALL}


def test_a_misspelt_method_is_told_what_is_near():
    assert find_method("grasp").room == "guard"
    with pytest.raises(UnknownName, match=r"no method 'graps'; nearest: 'grasp'.*despur ls"):
        find_method("graps")
