"""What `despur run` prints."""

from importlib import import_module
from pathlib import Path
from typing import Any

from despur.cli.terminal import say_parts
from despur.cli.view import View


def plain(result: Any, given: Any) -> Any:
    """As the verb that was run prints it."""
    from despur.cli.app import COMMANDS
    from despur.core import read_json

    verb = read_json(Path(given["record"]))["verb"]
    return import_module(f"despur.cli.{COMMANDS[verb]}").VIEWS[verb].plain(result, given)


VIEWS = {"run": View(lambda result, given: say_parts(["Done: ", (str(given["out"]), "bold")]), plain)}
