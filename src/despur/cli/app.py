"""The commands: listed without importing what they do, built from a function's signature when one is called."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from despur import __version__
from despur.flows.verbs import VERBS, headline, headline_in

COMMANDS = {  # command -> the module of this package that prints what it gives
    "demo": "demo", "fetch": "fetch", "audit": "audit", "calibrate": "audit", "clean": "clean", "train": "train", "absorb": "absorb",
    "verify": "verify", "scan": "scan",
    "compare": "compare", "report": "report", "fit": "fit", "apply": "fit", "prove": "prove", "table": "table",
    "library add": "library", "library compare": "library",
    "library export": "library",
    "library ls": "library", "library remove": "library", "run": "replay", "ls": "catalogue", "show": "catalogue",
    "sites": "sites",
}  # fmt: skip
GROUPS = {
    "library": "Keep factors by name, and compare new ones with them.\n\n"
    "Example: `despur library add rude audit/`, then `despur library compare other-audit/`"
}
LIKE = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "markdown",
}


def without_types(params: list[Any]) -> list[Any]:
    """Let pages of help say nothing of a flag's type, and of a number's bounds once."""
    for p in params:
        if getattr(p, "is_flag", False):
            p.metavar = ""
        elif p.metavar is None and (p.min, p.max) != (None, None):
            p.metavar = f"<{p.type_descriptor.annotation.__name__}>"
    return params


class Command(TyperCommand):
    """A command with a page of help that fits eighty columns."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options and arguments."""
        return without_types(super().get_params(ctx))


class Late(TyperGroup):
    """A group whose commands are built when they are called; its own page of help takes their first lines alone."""

    prefix = ""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options."""
        return without_types(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the order of `COMMANDS`."""
        found = (c.removeprefix(self.prefix).partition(" ")[0] for c in COMMANDS if c.startswith(self.prefix))
        return list(dict.fromkeys(found))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command's name and first line, to be listed."""
        name = self.prefix + cmd_name
        if name in GROUPS:
            return TyperCommand(cmd_name, help=GROUPS[name])
        if name not in COMMANDS:
            return None
        first = headline(name) if name in VERBS else headline_in(f"despur.cli.{COMMANDS[name]}", name)
        return TyperCommand(cmd_name, help=first)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself."""
        typed, _, rest = super().resolve_command(ctx, args)
        return typed, command(self.prefix + str(typed)), rest


class LateLibrary(Late):
    """`despur library`."""

    prefix = "library "


def command(name: str) -> Any:
    """Build a command, or a group of them."""
    if name in GROUPS:
        group = typer.Typer(name=name, cls=LateLibrary, help=GROUPS[name], **LIKE)  # type: ignore[arg-type]
        group.callback()(lambda: None)
        return typer.main.get_command(group)
    from despur.cli.build import build

    return build(name, COMMANDS[name])


app = typer.Typer(
    cls=Late, help="Find what a fine-tune secretly learned, and keep the model from learning it.",
    **{**LIKE, "add_completion": True},  # type: ignore[arg-type]
)  # fmt: skip


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"despur {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and warnings of libraries.")
    ] = False,
) -> None:
    pass
