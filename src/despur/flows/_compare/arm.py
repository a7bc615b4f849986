"""One line of the comparison: how a guard, or a control, trains on a bench, and with which settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from despur.core.errors import SiteNotFound, nearest
from despur.flows._compare.bench import Bench

Kind = Literal["reference", "guard", "control", "cheap", "afterwards"]
Setting = Mapping[str, Any]
T = TypeVar("T")
TEXT, NAME, PAIRS, DATA = "generic text", "the trait's name", "paired prompts", "other data"  # what an arm may need


@dataclass(frozen=True)
class Arm:
    """A guard or a control, as the comparison runs it.

    Args:
        name: What the user types.
        run: `(bench, **setting)` to a trained model, ready to be scored.
        settings: What it is tried with, from weak to strong; every arm gets the same number, or says why not.
        kind: `reference` (base, naive), `guard`, `control` (expected to do nothing, or harm), `cheap` (a setting of the
            plain run), `afterwards` (edits a finished adapter, or its use).
        control: Name of the arm that is its control.
        needs: What it must be given beside base and rows.
        cost: Of a run, in plain runs: for estimates until some were timed.
        note: What it is, in a few words.
    """

    name: str
    run: Callable[..., Any]
    settings: tuple[Setting, ...] = ({},)
    kind: Kind = "guard"
    control: str | None = None
    needs: str = "nothing"
    cost: float = 1.0
    note: str = ""


def of(**values: tuple[Any, ...]) -> tuple[Setting, ...]:
    """Settings from one option's values: `of(strength=(0.3, 1.0))`."""
    ((name, options),) = values.items()
    return tuple({name: option} for option in options)


def find_arm(name: str, arms: Mapping[str, T]) -> T:
    """One arm.

    Raises:
        SiteNotFound: unknown; the message names the nearest.
    """
    if name not in arms:
        raise SiteNotFound(f"no guard {name!r} to compare{nearest(name, arms)}. There are: {', '.join(arms)}")
    return arms[name]


def base(bench: Bench) -> Any:
    """The base as it is."""
    return bench.fresh()


def naive(bench: Bench) -> Any:
    """The unguarded run."""
    return bench.load(bench.naive)
