"""What `despur run` prints."""

from importlib import import_module
from pathlib import Path
from typing import Any

from despur.cli.view import View, out_console


def plain(result: Any, given: Any) -> Any:
    """As the verb that was run prints it."""
    from despur.cli.app import COMMANDS
    from despur.core import read_json

    verb = read_json(Path(given["record"]))["verb"]
    return import_module(f"despur.cli.{COMMANDS[verb]}").VIEWS[verb].plain(result, given)


VIEWS = {
    "run": View(lambda result, given: out_console.print(f"Done: [bold]{given['out']}[/bold]", highlight=False), plain)
}
