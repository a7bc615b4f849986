"""Options of verbs: what a type cannot say, and how a value is read and checked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from os import PathLike
from typing import Any

from despur.core.errors import BadInput, UnknownName, nearest


@dataclass(frozen=True, slots=True)
class Option:
    """What an option's type cannot express; put into `Annotated` next to the type.

    Args:
        short: Its letter on the command line, as "-o".
        former: Its long name on the command line in earlier versions, still taken, as "--jobs".
        low: The smallest number.
        high: The largest number.
        choices: The only values; those of a `Literal` are taken from there.
        panel: Heading of its group on the help page.
        metavar: Its placeholder on the help page, where the type says too little.
        read: Makes the value from text, and raises `BadInput` where it cannot.
        rest: A positional list that takes the arguments that are left; another list is one text with commas.
        recorded: Whether `run.json` has it; False for options that do not change the result.
        stands: What may be given where no folder or file is: "base", a model in memory; "worlds", names or such a model; "tune", a tuned
            model, an adapter on the hub, or rows; "rows", rows in memory.
    """

    short: str = ""
    former: str = ""
    low: int | float | None = None
    high: int | float | None = None
    choices: tuple[str, ...] = ()
    panel: str = ""
    metavar: str = ""
    read: Callable[[str], Any] | None = None
    rest: bool = False
    recorded: bool = True
    stands: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option of a verb.

    Args:
        name: Name in the signature, in YAML and in `run.json`; dashes replace its underscores on the command line.
        kind: `bool`, `int`, `float`, `str` (paths as well) or `list`, of texts.
        default: Its value where nothing is given; `MISSING` where something must be.
        positional: Whether it is a positional argument on the command line.
        help: Its text in the docstring.
        option: The rest.
        part: The argument whose field it is and that argument's class, where a dataclass was flattened.
        place: Whether it is text or a path, and nothing else.
    """

    name: str
    kind: type
    default: Any
    positional: bool
    help: str
    option: Option
    part: tuple[str, type] | None = None
    place: bool = False

    def read(self, text: str) -> Any:
        """Make the value from text of the command line or of YAML."""
        if self.option.read is not None:
            return self.option.read(text)
        return [part.strip() for part in text.split(",") if part.strip()] if self.kind is list else text

    def check(self, value: Any) -> None:
        """Refuse a value outside the bounds or the choices.

        Raises:
            BadInput: a number that is too small or too large, or what is no text where a path is needed.
            UnknownName: a name that is none of the choices.
        """
        left_out = value is None and self.default is None
        if self.place and not (left_out or isinstance(value, str | PathLike)):
            raise BadInput(f"{self.name} is of type {type(value).__name__}; text or a path is needed. {self.help}")
        if (self.kind is list or self.option.rest) and not isinstance(value, str | PathLike | Iterable | None):
            raise BadInput(
                f"{self.name} is of type {type(value).__name__}; text, or a list of it, is needed. {self.help}"
            )
        low, high, choices = self.option.low, self.option.high, self.option.choices
        for one in _each(value):
            if choices and one not in choices:
                raise UnknownName(
                    f"no {self.name.replace('_', ' ')} {one!r}{nearest(str(one), choices)}. There are: {', '.join(choices)}"
                )
            if isinstance(one, int | float) and not (
                (low is None or one >= low) and (high is None or one <= high)  # written this way, NaN is refused, too
            ):
                allowed = f"at least {low:g}" if high is None else f"{low or 0:g} to {high:g}"
                least = "" if self.default in (None, MISSING) else f". Leave it out for {self.default}"
                raise BadInput(f"{self.name}={one!r}; {allowed} is needed{least}")


def assignments(text: str) -> dict[str, str]:
    """Read `a=1,b=two` as a mapping.

    Raises:
        BadInput: a part without an equals sign.

    Example:
        >>> assignments("side=read, n_rows=8")
        {'side': 'read', 'n_rows': '8'}
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if "=" not in part]:
        raise BadInput(f"{wrong[0]!r} is not NAME=VALUE. Write it as in: side=read,n_rows=64")
    return {name.strip().replace("-", "_"): value.strip() for name, _, value in (p.partition("=") for p in parts)}


def _each(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
