"""Verbs: one typed signature with its docstring is the Python call, the command, the YAML keys and the recorded arguments."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from despur.core.errors import BadInput, nearest
from despur.flows.docstring import read_docstring
from despur.flows.option import Option, Parameter
from despur.flows.progress import Logged
from despur.flows.stand_in import StandIn, standing

P = ParamSpec("P")
R = TypeVar("R")
NO_OPTION = ("progress", "tokenizer")
Out = Annotated[Path | str, Option("-o", recorded=False)]
Seed = Annotated[int, Option(low=0)]
Base = Annotated[str | Any, Option(stands="base")]  # what `base_in_memory` takes, or a path
Tune = Annotated[str | Any, Option(stands="tune")]
Data = Annotated[Path | str | Any, Option(stands="rows")]


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Check a function's options before it is called, and give it text for what is in memory or on the hub.

    Raises:
        BadInput, UnknownName: see `Parameter.check`; or what must be given is missing.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as stack:
            bound = bound_call(function, args, kwargs, stack)
            return function(*bound.args, **bound.kwargs)

    return checked


def bound_call(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], stack: ExitStack
) -> inspect.BoundArguments:
    """Bind the arguments of a call to a verb, checked, with text for what is in memory or on the hub.

    Args:
        function: The verb.
        args: Arguments by place.
        kwargs: Arguments by name.
        stack: What is written for the call is removed with it.

    Raises:
        BadInput, UnknownName: as `verb`.
    """
    signature = inspect.signature(function)
    bound = signature.bind_partial(*args, **kwargs)
    given = bound.arguments
    if "progress" in signature.parameters:
        given.setdefault("progress", Logged())
    for parameter in parameters_of(function):
        if parameter.default is MISSING and parameter.name not in given and parameter.part is None:
            raise BadInput(f"{function.__name__} got no {parameter.name}, which must be given. {parameter.help}")
    for parameter in parameters_of(function):
        if parameter.option.stands and parameter.name in given:
            given[parameter.name] = standing(parameter, given, stack)
    for parameter, value in _values(function, given):
        parameter.check(value)
    return bound


@cache
def parameters_of(thing: Callable[..., Any]) -> tuple[Parameter, ...]:
    """List the options of a verb, or of a dataclass; an argument that is a dataclass gives its fields.

    Example:
        >>> def bake(dough: str, *, minutes: int = 40): ...
        >>> [(p.name, p.kind.__name__) for p in parameters_of(bake)]
        [('dough', 'str'), ('minutes', 'int')]
    """
    if inspect.isclass(thing) and is_dataclass(thing):
        return tuple(_fields(thing))
    function = inspect.unwrap(thing)
    hints, texts = get_type_hints(function, include_extras=True), read_docstring(function.__doc__).options
    found: list[Parameter] = []
    for p in inspect.signature(function).parameters.values():
        if p.name in NO_OPTION:
            continue
        types, option = _taken_apart(hints[p.name])
        part: Any = next((t for t in types if is_dataclass(t)), None)
        if part is not None:
            found += _fields(part, (p.name, part))
        else:
            default = MISSING if p.default is p.empty else p.default
            help = texts.get(p.name, "")
            found.append(
                Parameter(
                    p.name,
                    _kind(types, option),
                    default,
                    p.kind is not p.KEYWORD_ONLY,
                    help,
                    _option(types, option),
                    place=_is_place(types, option),
                )
            )
    return tuple(found)


def recorded(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of a call as `run.json` has them: paths as text, dataclasses as their fields.

    Args:
        function: A verb.
        given: Name -> value; `locals()` at the verb's start.
    """
    return {p.name: _plain(value) for p, value in _values(function, given) if p.option.recorded}


def call_arguments(function: Callable[..., Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Turn options, flat as they are recorded or typed, into the keyword arguments of a verb.

    Args:
        function: A verb.
        options: Name -> value.
        where: Their source, for errors.

    Raises:
        BadInput: an unknown option, or a required one that is missing.
    """
    parameters = {p.name: p for p in parameters_of(function)}
    if unknown := [n for n in options if n not in parameters]:
        raise BadInput(
            f"{where} has {unknown[0]!r}, which this version does not take{nearest(unknown[0], parameters)}. "
            f"There are: {', '.join(parameters)}"
        )
    if lacking := [n for n, p in parameters.items() if p.default is MISSING and n not in options]:
        raise BadInput(f"{where} lacks {lacking[0]!r}, which must be given. Add it")
    arguments: dict[str, Any] = {}
    parts: dict[tuple[str, type], dict[str, Any]] = {}
    for name, value in options.items():
        part = parameters[name].part
        (arguments if part is None else parts.setdefault(part, {}))[name] = value
    return {**arguments, **{name: made(**values) for (name, made), values in parts.items()}}


def _values(function: Callable[..., Any], given: Mapping[str, Any]) -> Iterator[tuple[Parameter, Any]]:
    for p in parameters_of(function):
        holder = p.part[0] if p.part else p.name
        if holder in given:
            value = given[holder]
            yield p, value if p.part is None else p.default if value is None else getattr(value, p.name)


def _fields(made: Any, part: tuple[str, type] | None = None) -> Iterator[Parameter]:
    hints, texts = get_type_hints(made, include_extras=True), read_docstring(made.__doc__).options
    for f in fields(made):
        types, option = _taken_apart(hints[f.name])
        help = texts.get(f.name, "")
        yield Parameter(f.name, _kind(types, option), f.default, False, help, _option(types, option), part)


def _taken_apart(annotation: Any) -> tuple[list[Any], Option]:
    """The types of a union without None, and the `Option` next to them."""
    if get_origin(annotation) is Annotated:
        types, _ = _taken_apart(get_args(annotation)[0])
        return types, next((a for a in get_args(annotation)[1:] if isinstance(a, Option)), Option())
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation], Option()
    parts = [_taken_apart(a) for a in get_args(annotation) if a is not type(None)]
    return [t for types, _ in parts for t in types], next((o for _, o in parts if o != Option()), Option())


def _kind(types: Sequence[Any], option: Option) -> type:
    if option.read is not None or any(t in (str, Path) or get_origin(t) is Literal for t in types):
        return str
    return list if any(get_origin(t) is Sequence for t in types) else types[0]


def _is_place(types: Sequence[Any], option: Option) -> bool:
    """Whether text or a path is all that may be given."""
    return option.read is None and all(t in (str, Path) for t in types)


def _option(types: Sequence[Any], option: Option) -> Option:
    named = tuple(str(v) for t in types if get_origin(t) is Literal for v in get_args(t))
    return replace(option, choices=named) if named else option


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.label if isinstance(value, StandIn) else str(value) if isinstance(value, Path) else value
