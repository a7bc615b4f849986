"""One line of the comparison, as data: a method, its settings, and the materials that it is given in place of its own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from despur.core.catalogue import find_method
from despur.core.errors import UnknownName, nearest
from despur.core.materials import DATA, NOTHING, needs_of
from despur.core.names import canonical

Kind = Literal["reference", "guard", "control", "cheap", "afterwards"]
Setting = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Arm:
    """A guard or a control, as the comparison runs it; `runner.run_arm` knows how.

    Args:
        name: What the user types.
        method: Name of the method in the catalogue; None where nothing is done but training, or not even that.
        settings: Options that it is tried with, from weak to strong; every arm gets the same number, or says why not.
        materials: Argument -> the material that it gets in place of the method's own, as `maker.Maker` names it; `{side}` in it
            is filled in from the setting. A control is its guard's method on another material.
        options: Options of the method that all settings share.
        adapter: The finished adapter that is scored, where nothing is trained: `"naive"`, `"early"`, a twin.
        run: Differences of the training run itself: `full`, `osf`.
        beside: Other guards that act in the same run: method -> its options.
        once: Whether a weight edit is applied to the finished naive adapter, once, in place of training under it.
        kind: `reference` (base, naive), `guard`, `control` (expected to do nothing, or harm), `cheap` (a setting of the
            plain run), `afterwards` (edits a finished adapter, or its use).
        control: Name of the arm that is its control.
        cost: Cost of a run, in plain runs: for estimates until some are timed.
        note: A short description.
    """

    name: str
    method: str | None = None
    settings: tuple[Setting, ...] = ({},)
    kind: Kind = "guard"
    materials: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    once: bool = False
    control: str | None = None
    cost: float = 1.0
    note: str = ""

    @property
    def needs(self) -> str:
        """What it needs besides base and rows."""
        if self.method is None:
            return DATA if self.adapter in ("neutral", "benign") else NOTHING
        return needs_of({**self._takes, **self.materials})

    @property
    def _takes(self) -> dict[str, str]:
        """Argument -> material, of its method and of those beside it."""
        assert self.method is not None
        others = {f"{name} {a}": m for name in self.beside for a, m in find_method(name).takes.items()}
        return {**find_method(self.method).takes, **others}

    def made_of(self, setting: Setting) -> Collection[str]:
        """Names of all materials that it is made of at one setting."""
        return {**self._takes, **self.materials_at(setting)}.values() if self.method else ()

    def materials_at(self, setting: Setting) -> dict[str, str]:
        """The materials, as they are asked for at one setting."""
        return {argument: name.format(**setting) for argument, name in self.materials.items()}


def of(**values: tuple[Any, ...]) -> tuple[Setting, ...]:
    """Settings from one option's values: `of(strength=(0.3, 1.0))`."""
    ((name, options),) = values.items()
    return tuple({name: option} for option in options)


def find_arm(name: str, arms: Mapping[str, T]) -> T:
    """One arm; dashes and underscores both do.

    Raises:
        UnknownName: unknown; the message names the nearest.
    """
    if canonical(name) not in arms:
        raise UnknownName(f"no guard {name!r} to compare{nearest(name, arms)}. There are: {', '.join(arms)}")
    return arms[canonical(name)]


def setting_text(setting: Setting) -> str:
    """A setting as the name of a folder: `strength-0.3`, `default` where there are no options.

    Example:
        >>> setting_text({"strength": 0.3, "side": "read"}), setting_text({})
        ('strength-0.3_side-read', 'default')
    """
    parts = (f"{k}-{v:g}" if isinstance(v, float) else f"{k}-{v}" for k, v in setting.items())
    return "_".join(parts) or "default"
