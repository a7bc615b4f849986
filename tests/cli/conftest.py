"""The command line, from its entry point on, in this process: a process of its own would import torch for every line of error."""

import gc
import io
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from despur.cli import main, start


@dataclass
class Done:
    """What a command left: exit status and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def despur(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `despur` with arguments: `despur("ls", "guard").returncode`."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["despur", *arguments])
        out, err, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("default")  # as in a process of its own
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            except Exception:
                traceback.print_exc()
                code = 1
        return Done(code, out.getvalue(), err.getvalue())

    threshold = gc.get_threshold()
    yield run
    gc.set_threshold(*threshold)  # a command that ended early leaves it at a million
    gc.unfreeze()
    start._before.clear()
