"""Which checks a method must pass, by what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from despur.core.catalogue import Contract, Method, find_method
from despur.core.finder import Finder
from despur.core.materials import Materials
from despur.testing import edits, entry, estimators, factors, optimizers, reports, solutions, tables, weights
from despur.testing.tiny import TinyMaterials

_SUITES: dict[Contract, tuple[Callable[..., None], ...]] = {
    "edit": edits.SUITE,
    "factors": factors.SUITE,
    "optimizer": optimizers.SUITE,
    "reports": reports.SUITE,
    "solution": solutions.SUITE,
    "weights": weights.SUITE,
}


@dataclass(frozen=True)
class Check:
    """One promise put to one method: call it.

    Args:
        method: The method.
        promise: `promise(method, materials, **options)`, which raises where it is broken.
        given: Makes the materials, new ones at every call.
        options: Of the method, where its defaults are too slow or too large for tiny materials.

    Raises:
        AssertionError: a check fails; the message names it.
    """

    method: Method
    promise: Callable[..., None]
    given: Callable[[], Materials] = TinyMaterials
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def __name__(self) -> str:
        """What pytest shows: the method, then the promise."""
        return f"{self.method.name}-{self.promise.__name__.removeprefix('check_')}"

    def __call__(self) -> None:
        """Run the check."""
        self.promise(self.method, self.given(), **self.options)


def checks(method: str, given: Callable[[], Materials] = TinyMaterials, **options: Any) -> list[Check]:
    """List the checks that a method of the catalogue must pass, by its contract.

    Args:
        method: Its name.
        given: Makes the materials; tiny ones without.
        **options: Of the method, where its defaults are too slow or too large for those.

    Returns:
        Checks to be called, one by one: `pytest.mark.parametrize("check", checks("my-guard"))`.

    Raises:
        UnknownName: no such method.

    Example:
        >>> [check.__name__ for check in checks("leakage")][:2]
        ['leakage-is_entered_in_full', 'leakage-figures_are_whole']
    """
    entered = find_method(method)
    promises = [entry.check_is_entered_in_full]
    if entered.contract == "estimator":
        promises += estimators.SUITE if issubclass(entered.factory, Finder) else tables.SUITE  # type: ignore[arg-type]
        promises += estimators.of_scikit_learn(entered, **options)
    else:
        promises += _SUITES[entered.contract]
    return [Check(entered, promise, given, options) for promise in promises]
