"""What `--null` names: neutral tunes that are made here, a file, the shipped ones, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, Any

from despur.core import Tuned, same_base
from despur.core.errors import BadInput
from despur.core.text.rows import Tokens
from despur.flows._audit.null.automatic import make_null, order_of, seconds, workers_here
from despur.flows._audit.null.bench import Order
from despur.flows._audit.null.recipe import Recipe
from despur.flows._audit.passages import SHIPPED, Passages
from despur.flows._audit.screen import Screen
from despur.flows.option import Option
from despur.flows.placement import Placement
from despur.flows.progress import Progress
from despur.judge import NeutralNull

AUTO, NONE = "auto", "none"
_PANEL = "Null"
_LIKE = (
    2.0  # times the size of the largest neutral tune, or that part of the smallest, up to which sizes count as alike
)
Null = Path | str | None


@dataclass(frozen=True, slots=True)
class Making:
    """How `--null auto` makes neutral tunes.

    Args:
        null_tunes: How many; a level of 5 % needs 19.
        null_workers: Worker processes; one a processor if left out.
    """

    null_tunes: Annotated[int, Option(low=4, panel=_PANEL)] = 19
    null_workers: Annotated[int | None, Option(low=1, panel=_PANEL, recorded=False)] = None


@dataclass(frozen=True)
class Asked:
    """The null that was asked for, looked at before any work.

    Args:
        name: `auto`, `none`, `shipped`, a file, or None.
        making: How tunes are made.
        file: What was read; the shipped one where no file was given.
    """

    name: str | None
    making: Making
    file: NeutralNull

    @classmethod
    def of(cls, null: Null, making: Making | None, *, level: float, against: bool) -> "Asked":
        """Read what was named.

        Raises:
            BadInput: no null in the file; too few tunes for the level; tunes for the difference of two.
        """
        name, making = None if null is None else str(null), making or Making()
        if name == AUTO and against:
            raise BadInput(
                "--null auto makes tunes beside their base, which say nothing of the difference of two. Leave out --against or give a file"
            )
        if name == AUTO and making.null_tunes < (needed := ceil(1 / level - 1e-9) - 1 if level else 10**9):
            raise BadInput(
                f"with null_tunes={making.null_tunes} no p value is below {1 / (1 + making.null_tunes):.2g}, and the level is {level:g}: at least "
                f"{needed} are needed. Take --null-tunes {needed}, or a higher --level"
            )
        return cls(name, making, NeutralNull.read(None if name in (None, AUTO, NONE, SHIPPED) else name))


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
        site = next((c.site for c in self.seen.candidates.values()), None)
        if site is None:
            raise BadInput(
                "--null auto compares directions, and the adapter moves no layer that was looked at. Leave it out"
            )
        return order_of(
            self.base, self.adapter, self.read.adapter, self.read.model, fingerprint=self.fingerprint,
            form=self.settings["template"], tokens=self.tokens, text=self.text, site=site, roles=self.roles,
            placement=self.placement, dtype=self.settings["dtype"],
        )  # fmt: skip


def null_for(asked: Asked, case: Case, progress: Progress) -> tuple[NeutralNull | None, tuple[str, ...]]:
    """The neutral tunes that judge an adapter, or None, and what a reader must know of them.

    Raises:
        BadInput: neutral tunes cannot be made, or those of the file are of another recipe.
    """
    own = same_base(asked.file.base, case.fingerprint) and not case.against
    if asked.name == AUTO:
        order, many = case.order(), asked.making.null_tunes
        workers = min(asked.making.null_workers or workers_here(order), many)
        if expected := seconds(case.read.model, order, many, workers):
            progress("expected to take", 1, 1, {"minutes": expected / 60})
        return make_null(order, case.read.adapter, many, workers, progress, settings=case.settings), ()
    if asked.name is None and not own or asked.name == NONE:
        return None, (_missing(asked, case),)
    return asked.file, tuple([*_unlike(asked.file, case), *_elsewhere(asked.file, case)])


def _unlike(null: NeutralNull, case: Case) -> list[str]:
    """A note where the adapter is of another size than the tunes.

    Raises:
        BadInput: another rank, or other modules.
    """
    if not null.recipe or case.against or case.read.adapter.kind != "LORA":
        return []
    recipe, here = Recipe.read(null.recipe), Recipe.of(case.read.adapter, case.read.model)
    if other := here.differs(recipe):
        raise BadInput(
            f"the null is of neutral tunes of another recipe ({other}), and the adapter is {here.words}: weights and directions of one recipe say "
            "nothing of another's. Give --null auto, which makes tunes of the adapter's own, or calibrate with adapters like it"
        )
    if not recipe.size / _LIKE <= here.size <= recipe.size * _LIKE:
        return [
            f"the adapter's update is of size {here.size:.2g}, that of the null's neutral tunes {recipe.size:.2g}: {asked_for(None)}"
        ]
    return []


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
    first = f"no null of this base judges the adapter (the shipped one: {asked.file.origin}), so the false-positive rate is unknown"
    if case.against:
        return f"{first}. {asked_for(None)}"
    try:
        order = case.order()
        expected = seconds(case.read.model, order, asked.making.null_tunes, workers_here(order))
    except BadInput as error:
        return f"{first}. {error}"
    return f"{first}. {asked_for(expected)}"


def asked_for(expected: float | None) -> str:
    """How a null is made, with its price where that is known."""
    price = (
        ""
        if expected is None
        else " at once, from those that are kept"
        if not expected
        else f" in about {_time(expected)}"
    )
    return (
        f"--null auto makes one of the adapter's own recipe{price}; with neutral adapters of yours: despur calibrate BASE NEUTRAL_ADAPTER ... "
        "-o null.json, then --null null.json"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
