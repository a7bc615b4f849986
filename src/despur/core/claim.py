"""Claims: what a method is said to do, as a function that measures it beside a control that must fail."""

import functools
import importlib
import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from despur.core.catalogue import find_method
from despur.core.errors import BadInput, UnknownName
from despur.core.evidence import FAILS, HOLDS, PROXY
from despur.core.margin import misses
from despur.core.names import canonical
from despur.core.reports import Report

Outcome = Literal["holds", "does not hold here", "proxy holds"]
Form = Literal["mechanism", "statement"]
FOLDER = "DESPUR_CLAIMS"  # where claims keep the runs that several of them share; a temporary folder if unset


@runtime_checkable
class Runs(Protocol):
    """What a claim is: a seed in, reports out."""

    def __call__(self, seed: int, *, whole: bool) -> Sequence[Report]:
        """Measure."""
        ...


R = TypeVar("R", bound=Runs)


@dataclass(frozen=True)
class Claim:
    """One entry of `despur prove`.

    Args:
        method: Name in the catalogue.
        says: What the method does, in one sentence that could be false.
        control: What is measured beside it and must fail.
        margin: How far every report must be ahead of its control, in the report's unit; a report's own `margin` in its spec
            comes before it.
        run: The function.
        slow: Whether the statement takes more than a minute on two cores.
        proxy: What is *not* claimed, where a stand-in is measured; "" where the statement itself is.
    """

    method: str
    says: str
    control: str
    margin: float
    run: Runs
    slow: bool = False
    proxy: str = ""

    def judge(self, reports: Sequence[Report]) -> tuple[Outcome, tuple[str, ...]]:
        """Say whether the claim holds, and if not, which figures miss what.

        Args:
            reports: What `run` gave.

        Raises:
            BadInput: there is no report, or one without a control.
        """
        if not reports:
            raise BadInput(f"the claim of {self.method} gave no report, so nothing was measured. Return at least one")
        if lacking := [r.name for r in reports if r.control != r.control]:
            raise BadInput(f"{self.method}: {lacking[0]!r} has no figure for its control. Measure the control, too")
        reasons = tuple(reason for r in reports for reason in misses(r, self.margin))
        return (FAILS if reasons else PROXY if self.proxy else HOLDS), reasons


_CLAIMS: dict[str, Claim] = {}


def claim(
    *, method: str, says: str, control: str, margin: float, slow: bool = False, proxy: str = ""
) -> Callable[[R], R]:
    """Enter a function as the claim of a method; `despur prove NAME` runs it.

    The function takes a seed and `whole`. With `whole=False` it measures the mechanism alone, in two seconds: shapes, identities,
    equalities. With `whole=True` it measures the statement, in a minute on two cores, or in five where `slow` says so. It gives
    `Report`s; `compared` makes them.

    Args:
        method: Name in the catalogue.
        says: What the method does, in one sentence that could be false.
        control: What is measured beside it and must fail.
        margin: How far every report must be ahead of its control.
        slow: Whether the statement takes more than a minute.
        proxy: What is not claimed, where a stand-in is measured.

    Raises:
        BadInput: no sentence, no control, or a margin that is not positive.

    Example:
        >>> from despur.core.margin import compared
        >>> @claim(method="an-example", says="half of an update is half as long", control="all of it", margin=0.1)
        ... def halves(seed: int, *, whole: bool) -> tuple[Report, ...]:
        ...     return (compared("length", 0.5, control=1.0, bound=0.5, higher_is_better=False),)
        >>> found = _CLAIMS.pop("an-example")
        >>> found.judge(found.run(0, whole=False))
        ('holds', ())
    """
    if not says.strip() or not control.strip():
        raise BadInput(f"the claim of {method!r} needs a sentence in says= and its control in control=. Write both")
    if not margin > 0:
        raise BadInput(f"the claim of {method!r} has margin={margin!r}; a positive number is needed. Declare one")

    def enter(function: R) -> R:
        _CLAIMS[canonical(method)] = Claim(canonical(method), says, control, margin, function, slow, proxy)
        return function

    return enter


def find_claim(name: str) -> Claim:
    """The claim of a method, imported when it is asked for.

    Raises:
        UnknownName: no such method, or one without a claim.
    """
    entry = find_method(name)
    if entry.name not in _CLAIMS and entry.factory.__module__.startswith("despur."):
        module = f"despur.claims.{entry.room}.{entry.name.replace('-', '_')}"
        if find_spec(module) is not None:
            importlib.import_module(module)
    if entry.name not in _CLAIMS:
        raise UnknownName(
            f"{entry.name} has no claim. Write one: a function under @claim(method={entry.name!r}), see CONTRIBUTING"
        )
    return _CLAIMS[entry.name]


def sources(entry: Claim) -> str:
    """Source of a claim, of what despur's own claims share, and of the method: what it gives may change when they do."""
    own = Path(str(inspect.getsourcefile(inspect.unwrap(entry.run))))
    shared = own.parents[1].glob("*.py") if entry.run.__module__.startswith("despur.claims.") else ()
    return "\n".join([*(p.read_text(encoding="utf-8") for p in (own, *sorted(shared))), method_source(entry.method)])


def method_source(name: str) -> str:
    """Source of the file that a method is in.

    Raises:
        UnknownName: no such method.
    """
    return Path(str(inspect.getsourcefile(inspect.unwrap(find_method(name).factory)))).read_text(encoding="utf-8")


def workspace() -> Path:
    """Folder in which claims keep runs that several of them share."""
    return Path(os.environ[FOLDER]) if FOLDER in os.environ else Path(_temporary().name)


@functools.cache
def _temporary() -> Any:
    return tempfile.TemporaryDirectory(prefix="despur-claims-", ignore_cleanup_errors=True)
