"""The finders keep scikit-learn's contract."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from despur.find import DifferencePCA, MeanDifference, SharedDirections

FINDERS = [MeanDifference(), DifferencePCA(), SharedDirections(nulls=5)]
TYPED = "the tests' run-time type checks refuse the wrong types that this check constructs with"
EXPECTED_FAILURES = {
    "DifferencePCA": {"check_do_not_raise_errors_in_init_or_set_params": TYPED},
    "SharedDirections": {"check_do_not_raise_errors_in_init_or_set_params": TYPED},
}  # strict: one that passes fails the test


@parametrize_with_checks(
    FINDERS, expected_failed_checks=lambda finder: EXPECTED_FAILURES.get(type(finder).__name__, {})
)
def test_check(estimator, check):
    check(estimator)
