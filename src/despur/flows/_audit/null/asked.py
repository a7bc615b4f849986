"""What `--null` names: neutral tunes that are made here, a file, the shipped ones, or none; looked at before any work."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated

from despur.core import Tuned
from despur.core.errors import BadInput
from despur.flows._audit.null.recipe import Recipe, lora_options
from despur.flows._audit.passages import SHIPPED
from despur.flows.option import Option
from despur.judge import NeutralNull

AUTO, NONE = "auto", "none"
_NO_FILE = (None, AUTO, NONE, SHIPPED)
_PANEL = "Null"
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
                f"with null_tunes={making.null_tunes} no p value is below {1 / (1 + making.null_tunes):.2g}, and the level is {level:g}: "
                f"at least {needed} are needed. Take --null-tunes {needed}, or a higher --level"
            )
        return cls(name, making, NeutralNull.read(None if name in _NO_FILE else name))

    @property
    def rows(self) -> int | None:
        """Rows that the tunes of a file were measured on: what they judge is measured on as many, where nobody says how many."""
        rows = None if self.name in _NO_FILE else self.file.settings.get("rows")
        return rows if isinstance(rows, int) else None

    @staticmethod
    def file_of(null: Null) -> Null:
        """The file that was named; None for one of the words that an audit of rows knows, too."""
        return None if null in (NONE, AUTO) else null

    def check(self, read: Tuned) -> None:
        """Refuse an adapter that these tunes cannot judge.

        Raises:
            BadInput: no plain LoRA, where tunes like it are to be made; another rank than in the file, or other modules.
        """
        adapter = read.adapter
        if self.name == AUTO:
            lora_options(adapter)
        if self.name in (None, AUTO, NONE) or not self.file.recipe or adapter.kind != "LORA":
            return
        here = Recipe.of(adapter, read.model)
        if other := here.differs(Recipe.read(self.file.recipe)):
            raise BadInput(
                f"the null in {self.name!r} is of neutral tunes of another recipe ({other}), and the adapter is {here.words}: "
                "directions of one recipe say nothing of another's. Give --null auto, or calibrate with adapters like it"
            )
