"""The neutral tunes that judge an adapter, and what its reader must know of them; where there are none, what they would cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from despur.core import Tuned, same_base
from despur.core.errors import BadInput
from despur.core.text.rows import Tokens
from despur.flows._audit.null.asked import AUTO, NONE, Asked
from despur.flows._audit.null.automatic import make_null, order_of, seconds, workers_here
from despur.flows._audit.null.bench import Order
from despur.flows._audit.null.recipe import Recipe
from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import Screen
from despur.flows.placement import Placement
from despur.flows.progress import Progress
from despur.judge import NeutralNull

_LIKE = 2.0  # times the size of the neutral tunes, or that part of it, up to which sizes count as alike


@dataclass(frozen=True)
class Case:
    """The audit that is to be judged.

    Args:
        base: Name of the base.
        adapter: Folder of the adapter.
        fingerprint: Of the base.
        read: Base and adapter.
        seen: What was measured.
        text: On which.
        tokens: The user's rows, where they are given.
        settings: What a null must have in common with this audit.
        roles: For architectures that are not in the table.
        placement: Device and precision.
        against: Whether another tune takes the base's place.
    """

    base: str
    adapter: str
    fingerprint: str
    read: Tuned
    seen: Screen
    text: Passages
    tokens: Sequence[Tokens] | None
    settings: Mapping[str, Any]
    roles: Mapping[str, str] | None
    placement: Placement | None
    against: bool

    def order(self) -> Order:
        """The neutral tunes that would judge it.

        Raises:
            BadInput: the adapter is no plain LoRA, or moves no layer.
        """
        if not self.seen.checks:
            raise BadInput(
                "--null auto compares directions, and the adapter moves no layer that was looked at. Leave it out"
            )
        return order_of(
            self.base, self.adapter, self.read.adapter, self.read.model, fingerprint=self.fingerprint,
            form=self.settings["template"], tokens=self.tokens, text=self.text, depth=self.settings["depth"], roles=self.roles,
            placement=self.placement, dtype=self.settings["dtype"],
        )  # fmt: skip


def null_for(asked: Asked, case: Case, progress: Progress) -> tuple[NeutralNull | None, tuple[str, ...]]:
    """The neutral tunes that judge an adapter, or None, and what a reader must know of them.

    Raises:
        BadInput: neutral tunes cannot be made.
    """
    own = same_base(asked.file.base, case.fingerprint) and not case.against
    if asked.name == AUTO:
        order, many = case.order(), asked.making.null_tunes
        workers = min(asked.making.null_workers or workers_here(order), many)
        if expected := seconds(case.read.model, order, many, workers):
            progress("expected to take", 1, 1, {"minutes": expected / 60})
        return make_null(order, case.read.adapter, many, workers, progress, settings=case.settings), ()
    if (asked.name is None and not own) or asked.name == NONE:
        return None, (_missing(asked, case),)
    return asked.file, tuple([*_unlike(asked.file, case), *_elsewhere(asked.file, case)])


def alike(null: NeutralNull | None, case: Case) -> bool:
    """Whether the tunes' updates are known to be about as large as the adapter's, so that nats can be compared."""
    there, here = _sizes(null, case)
    return 0 < there / _LIKE <= here <= there * _LIKE


def _sizes(null: NeutralNull | None, case: Case) -> tuple[float, float]:
    """Sizes of the tunes' updates and of the adapter's; 0 where they are not known."""
    if null is None or not null.recipe or case.against or case.read.adapter.kind != "LORA":
        return 0.0, 0.0
    return Recipe.read(null.recipe).size, Recipe.of(case.read.adapter, case.read.model).size


def _unlike(null: NeutralNull, case: Case) -> list[str]:
    """A note where the adapter is of another size than the tunes."""
    there, here = _sizes(null, case)
    if not there or alike(null, case):
        return []
    return [
        f"the adapter's update is of size {here:.2g}, that of the null's neutral tunes {there:.2g}: {asked_for(None)}"
    ]


def _elsewhere(null: NeutralNull, case: Case) -> list[str]:
    """Notes on a null of another base, or of other settings."""
    if not same_base(null.base, case.fingerprint):
        return [
            f"this base has no null (the one that judges it: {null.origin}), so the false-positive rate is unknown. {asked_for(None)}"
        ]
    former = {"dtype": "float32", **null.settings}  # earlier versions knew no other
    other = [f"{k}={case.settings[k]!r} (the null's: {v!r})" for k, v in former.items() if case.settings.get(k) != v]
    return (
        [f"the false-positive rate was measured with other settings: {', '.join(other)}. {asked_for(None)}"]
        if other
        else []
    )


def _missing(asked: Asked, case: Case) -> str:
    """That no null judges it, and what one would take."""
    first = f"no null of this base judges this (the shipped one: {asked.file.origin}), so the false-positive rate is unknown"
    if case.against:
        return f"{first}. {asked_for(None, auto=False)}"
    try:
        order = case.order()
        expected = seconds(case.read.model, order, asked.making.null_tunes, workers_here(order))
    except BadInput as error:
        return f"{first}. {error}"
    return f"{first}. {asked_for(expected)}"


def asked_for(expected: float | None, *, auto: bool = True) -> str:
    """How a null is made, with its price where that is known."""
    price = (
        "" if expected is None else f" in about {_time(expected)}" if expected else " at once, from those that are kept"
    )
    brought = "despur calibrate BASE NEUTRAL_ADAPTER ... -o null.json, then audit with --null null.json"
    return (
        f"--null auto makes one of the adapter's own recipe{price}; with neutral adapters of yours: {brought}"
        if auto
        else f"To calibrate: {brought}"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
