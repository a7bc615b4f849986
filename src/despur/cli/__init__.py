"""The command line: parses, calls a flow, prints; no logic of its own."""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence

CONTINUED = ("demo", "train", "absorb", "compare", "calibrate")  # those that find their finished stages again


def main() -> None:
    """Entry point of `despur`: user faults are one line and exit 2, bugs a traceback and exit 1."""
    from despur.cli.terminal import harmless_streams

    with harmless_streams():
        _main()


def _main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    debug = "--debug" in sys.argv
    if not debug:  # warnings of libraries about coming versions are of no use to a user of this command
        warnings.simplefilter("ignore", FutureWarning)
    from despur.cli.start import begin

    begin()
    from despur.cli.app import app

    try:
        app()
    except SystemExit as end:  # typer turns Ctrl-C into a silent exit of this code
        if end.code == 130:
            _stop(interrupted(sys.argv), 130, debug)
        raise
    except BrokenPipeError:  # who reads has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        from despur.core.errors import DespurError

        if isinstance(error, DespurError):
            _stop(f"{type(error).__name__}: {error}", 2, debug)
        if isinstance(error, OSError) and error.strerror:
            where = f": {error.filename!r}" if error.filename else ""
            _stop(f"{error.strerror}{where}. Check the place, or see --debug", 2, debug)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            _stop("out of memory. Take fewer or shorter rows, a smaller batch, or a larger machine", 2, debug)
        raise


def _keeps(typed: Sequence[str]) -> bool:
    """Whether an audit keeps its tunes: of rows, in the folder that is named, and neutral ones, in the user's cache."""
    from despur.core.text.row_files import are_rows

    named = any(word.partition("=")[0] in ("-o", "--out") for word in typed)
    return "auto" in typed or "--null=auto" in typed or (named and any(map(are_rows, typed[2:4])))


def interrupted(typed: Sequence[str]) -> str:
    """What is true after Ctrl-C: of work in stages what is finished is there, of the rest nothing.

    Args:
        typed: The command line.

    Example:
        >>> interrupted(["despur", "train", "base/"])
        'interrupted; what is finished is kept; the same command continues'
        >>> interrupted(["despur", "audit", "base/"])
        'interrupted; nothing was written; the same command begins again'
    """
    command = next((word for word in typed[1:] if not word.startswith("-")), "")
    if command == "demo" and "--planted" not in typed:
        return "interrupted; a planted world's runs that are finished are kept, of a conversation nothing; the same command goes on"
    if command in CONTINUED or (command == "audit" and _keeps(typed)):
        return "interrupted; what is finished is kept; the same command continues"
    return "interrupted; nothing was written; the same command begins again"


def _stop(message: str, code: int, debug: bool) -> None:
    from despur.cli.terminal import say_error

    if debug:
        traceback.print_exc()
    say_error(f"despur: {message}")
    sys.exit(code)
