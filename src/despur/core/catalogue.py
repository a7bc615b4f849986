"""The catalogue: every method is a decorated factory; positional arguments are materials, named ones are options."""

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, cast

from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.extras import lacking
from despur.core.materials import DATA, needs_of
from despur.core.names import canonical
from despur.core.spec import Spec

F = TypeVar("F", bound=Callable[..., Any])
ROOMS = ("find", "latent", "guard", "steer", "unlearn", "merge", "measure")  # those that contain methods
PLUGINS = "despur.methods"  # entry point of other packages: a module whose import enters its methods
# five contracts; "factors" and "weights" are what an estimator finds and what an edit leaves, given at once by a function
Contract = Literal["estimator", "factors", "edit", "weights", "reports", "solution", "optimizer"]
_CONTRACTS: Mapping[str, Contract] = {
    "Edit": "edit", "Adapter": "weights", "Subspace": "factors", "Report": "reports", "Solution": "solution",
    "Optimizer": "optimizer",
}  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One entry of the catalogue.

    Args:
        name: What the user types; words joined by dashes.
        room: Where it lives.
        paper: Whose idea it is.
        factory: The function or class itself.
        takes: Argument -> the material that it is built from.
        cost: Of a training step with it, in plain steps; None where it is no part of a step.
        extra: What must be installed beside despur, one of `core.extras.EXTRAS`; "" for nothing.
    """

    name: str
    room: str
    paper: str
    factory: Callable[..., Any]
    takes: Mapping[str, str] = field(default_factory=dict)
    cost: float | None = None
    extra: str = ""

    @property
    def contract(self) -> Contract:
        """What it gives back, and so which suite of `despur.testing` checks it.

        Raises:
            BadInput: its return annotation names none of those types.
        """
        if inspect.isclass(self.factory):
            return "optimizer" if _tunes(self.factory) else "estimator"
        gives = str(inspect.signature(self.factory).return_annotation)
        contracts: list[Contract] = [
            contract for word, contract in _CONTRACTS.items() if re.search(rf"\b{word}\b", gives)
        ]
        if not contracts:
            raise BadInput(f"{self.name} returns {gives}; a method gives one of: {', '.join(_CONTRACTS)}. Annotate it")
        return contracts[0]

    @property
    def options(self) -> dict[str, Any]:
        """Option -> its default."""
        parameters = inspect.signature(self.factory).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def summary(self) -> str:
        """First line of its docstring."""
        return (inspect.getdoc(self.factory) or "").split("\n", 1)[0]

    @property
    def needs(self) -> str:
        """What a user must bring beside base and rows: one of `materials.NEEDS`."""
        return DATA if self.contract == "solution" else needs_of(self.takes)  # a solver is given its problem


_CATALOGUE: dict[str, Method] = {}


def method(
    *, room: str, paper: str, takes: Mapping[str, str] | None = None, cost: float | None = None, extra: str = ""
) -> Callable[[F], F]:
    """Put a factory into the catalogue; what it makes keeps its spec.

    Arguments that may be given by position are materials, asked for by name (`core.materials`); those after `*` are
    options. Only a solver's, a function that gives a `Solution`, are its problem and no materials.

    Args:
        room: The package that it belongs to.
        paper: Source, as `despur ls` shows it.
        takes: Argument -> material, for arguments that are not built from the material of their own name.
        cost: Of a training step with it, in plain steps.
        extra: What must be installed beside despur for it; its file imports that late, in functions.

    Raises:
        UnknownName: no such extra.
    """
    lacking(extra)

    def enter(factory: F) -> F:
        plain = inspect.isclass(factory) and not _tunes(factory)
        parameters = () if plain else inspect.signature(factory).parameters.values()
        asked = {p.name: (takes or {}).get(p.name, p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
        entry: F = factory if inspect.isclass(factory) else _with_spec(factory)  # type: ignore[assignment]
        name = canonical(factory.__name__)
        _CATALOGUE[name] = Method(name, room, paper, entry, asked, cost, extra)
        return entry

    return enter


def _tunes(factory: Any) -> bool:
    """Whether a class is a torch optimiser; torch itself need not be imported to know."""
    return any((c.__module__, c.__name__) == ("torch.optim.optimizer", "Optimizer") for c in inspect.getmro(factory))


def _with_spec(factory: F) -> F:
    signature, name = inspect.signature(factory), canonical(factory.__name__)

    @functools.wraps(factory)
    def made(*args: Any, **kwargs: Any) -> Any:
        result = factory(*args, **kwargs)
        if hasattr(type(result), "spec") and not is_dataclass(
            result
        ):  # an Edit; a Report records in its own way how it was made
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            options = {p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
            result.spec = Spec(
                name,
                {k: v for k, v in bound.arguments.items() if k in options},
                {k: v for k, v in bound.arguments.items() if k not in options},
            )
        return result

    return cast(F, made)


@functools.cache
def _load_rooms() -> None:
    for room in ROOMS:
        loaded = importlib.import_module(f"despur.{room}")
        for late in getattr(loaded, "METHODS", ()):  # a room that imports its parts when they are asked for
            importlib.import_module(f"despur.{room}.{late}")
    for plugin in entry_points(group=PLUGINS):
        plugin.load()


def methods() -> dict[str, Method]:
    """Every method by name, sorted by room and name.

    Example:
        >>> methods()["grasp"].room
        'guard'
    """
    _load_rooms()
    return dict(sorted(_CATALOGUE.items(), key=lambda item: (item[1].room, item[0])))


def find_method(name: str) -> Method:
    """One method; dashes, underscores and a class's own name all do.

    Raises:
        UnknownName: unknown; the message names the nearest.
    """
    known = methods()
    if canonical(name) not in known:
        raise UnknownName(f"no method {name!r}{nearest(name, known)}. List them: despur ls")
    return known[canonical(name)]
