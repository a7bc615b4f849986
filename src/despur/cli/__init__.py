"""The command line: parses, calls a flow, prints; no logic of its own."""

import os
import sys
import traceback
import warnings


def main() -> None:
    """Entry point of `despur`: user faults are one line and exit 2, bugs a traceback and exit 1."""
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
            _stop("interrupted; finished work is saved, run the same command again to continue", 130, debug)
        raise
    except Exception as error:
        from despur.core.errors import DespurError

        if isinstance(error, DespurError):
            _stop(f"{type(error).__name__}: {error}", 2, debug)
        raise


def _stop(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"despur: {message}\n")
    sys.exit(code)
