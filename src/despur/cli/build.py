"""A command from a function: its signature and docstring give arguments, options, help and examples."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from importlib import import_module
from inspect import Parameter as Place
from inspect import Signature, signature
from typing import Annotated, Any

import typer

from despur import flows
from despur.cli.app import Command
from despur.cli.config import check_resumed, read_config, read_resume
from despur.cli.progress import progress_bars
from despur.cli.start import settled
from despur.cli.view import View, print_json
from despur.core.errors import DespurError
from despur.flows.docstring import read_docstring
from despur.flows.option import Parameter
from despur.flows.verb import call_arguments, parameters_of
from despur.flows.verbs import RECORDED, VERBS

COMMON = "Every command"
RESUMED = ("train",)


def build(command: str, file: str) -> Any:
    """Import what a command needs and make it.

    Args:
        command: Its name, with its group's before it.
        file: The module of this package that prints what it gives.
    """
    module: Any = import_module(f"despur.cli.{file}")
    view: View = module.VIEWS[command]
    function = getattr(flows, VERBS[command]) if command in VERBS else getattr(module, command)
    parameters = {p.name: p for p in (*parameters_of(function), *(parameters_of(view.more) if view.more else ()))}
    places = [_place(p) for p in parameters.values()]
    if command in RECORDED:
        places.append(_added("config", str | None, None, "YAML with the long option names as keys; options here win.",
                             callback=read_config(command, parameters), is_eager=True))  # fmt: skip
    if command in RESUMED:
        places.append(_added("resume", str | None, None, "Folder of a run to continue; needs nothing else.",
                             callback=read_resume(command, parameters), is_eager=True))  # fmt: skip
    places.append(_added("json", bool, False, "Print the result as JSON, nothing else, on standard output.", COMMON))
    places.append(_added("debug", bool, False, "Show the traceback of an error, and warnings of libraries.", COMMON))

    def call(**typed: Any) -> None:
        check_resumed(typed)
        given = {n: _given(p, typed[n]) for n, p in parameters.items()}
        _run(function, view, given, as_json=typed["json"])

    call.__signature__ = Signature(places)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in places}
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    one.command(command.rpartition(" ")[2], cls=Command, help=help_of(function, view))(call)
    return typer.main.get_command(one)


def help_of(function: Callable[..., Any], view: View) -> str:
    """The help page without its options."""
    doc = read_docstring(function.__doc__)
    return "\n\n".join([doc.text, *([view.note] if view.note else []), *(f"Example: `{c}`" for c in doc.commands)])


def _given(p: Parameter, typed: Any) -> Any:
    """The value behind what was typed."""
    if isinstance(typed, str):
        return p.read(typed)
    return p.default if typed is None else typed


def _run(function: Callable[..., Any], view: View, given: Mapping[str, Any], *, as_json: bool) -> None:
    taken = signature(function).parameters
    arguments = call_arguments(function, {p.name: given[p.name] for p in parameters_of(function)}, "the command line")
    settled(*view.imports)
    try:
        with progress_bars(quiet=as_json) as progress:
            if "progress" in taken:
                arguments["progress"] = progress
            result = view.run(function, arguments, given)
    except DespurError as error:
        if error.result is not None:  # only its writing failed
            _print(view, error.result, {**given, "out": None}, as_json=as_json)
        elif view.broken is not None and (as_json or given.get("format", "text") != "text"):
            _print_plain(view, view.broken(given, error), {**given, "out": None}, as_json=as_json)
        raise
    _print(view, result, given, as_json=as_json)
    if status := view.status(result, given):
        raise typer.Exit(status)


def _print(view: View, result: Any, given: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json or given.get("format", "text") != "text":
        _print_plain(view, view.plain(result, given), given, as_json=as_json)
    else:
        view.show(result, given)


def _print_plain(view: View, values: Any, given: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json or view.say_as is None:
        print_json(values)
    else:
        view.say_as(values, given)


def _place(p: Parameter) -> Place:
    """A parameter as typer takes it."""
    option, default = p.option, p.default
    kind: Any = list[str] if option.rest else str if p.kind is list else p.kind
    if isinstance(default, list | tuple):
        default = ",".join(default)
    if default in (None, ""):  # typer would show an empty default
        default, kind = None, kind | None
    metavar = option.metavar or "|".join(option.choices) or None
    info: Any
    if p.positional:
        info = typer.Argument(help=p.help, metavar=metavar)
    else:
        long = f"--{p.name.rstrip('_').replace('_', '-')}"  # from_ for --from, which Python takes for itself
        info = typer.Option(long, *filter(None, (option.former, option.short)), help=p.help, metavar=metavar,
                            min=option.low if p.kind in (int, float) else None,
                            max=option.high if p.kind in (int, float) else None,
                            rich_help_panel=option.panel or None)  # fmt: skip
    return Place(
        p.name,
        Place.KEYWORD_ONLY,
        default=Place.empty if default is MISSING else default,
        annotation=Annotated[kind, info],
    )


def _added(name: str, kind: Any, default: Any, help: str, panel: str | None = None, **more: Any) -> Place:
    info: Any = typer.Option(f"--{name}", help=help, rich_help_panel=panel, **more)
    return Place(name, Place.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])
